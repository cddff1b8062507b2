/** Inputs of the works. Every run has its own, so that an engine that keeps results of whole inputs has no hit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { counterPixels } from '../../test/support/counter.js';

/**
 * Words that are one token each after a space, so that a prompt of n of them is n tokens long for every engine, whether it
 * takes ids or text.
 */
const WORDS =
  'time people year way day man thing woman life child world school state family student group country problem hand part place case week company system program question work government number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city community name president team minute idea kid body information back parent face others level office door health person art war history party result change morning reason research girl guy moment air teacher force education'.split(
    ' ',
  );

/** The first two words are no other run's: no engine finds the start of one prompt in another. */
function promptWords(tokens: number, run: number): string[] {
  const index = (i: number) => [run, Math.floor(run / 100) + tokens][i] ?? i * 37 + Math.floor(i / 7);
  return Array.from({ length: tokens }, (_, i) => WORDS[index(i) % WORDS.length]);
}

/** A text of so many tokens. */
export function promptText(tokens: number, run: number): string {
  return promptWords(tokens, run)
    .map((word) => ` ${word}`)
    .join('');
}

let vocabulary: Record<string, number> | undefined;

/** The same text's ids. @param folder the checkpoint folder with its tokenizer.json */
export function promptIds(folder: string, tokens: number, run: number): number[] {
  vocabulary ??= JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')).model.vocab as Record<
    string,
    number
  >;
  return promptWords(tokens, run).map((word) => (vocabulary as Record<string, number>)[`\u0120${word}`]);
}

export const IMAGE_TOKEN = 49190;
const AROUND = 49189;
const GLOBAL = 49152;

/** One picture of one tile (64 tokens, and 3 around them) in 16 tokens of text, ids of the 256M model. */
export function pictureIds(run: number): number[] {
  const text = Array.from({ length: 13 }, (_, i) => 100 + ((i * 7919 + run * 31) % 49000));
  return [1, 11126, 42, AROUND, GLOBAL, ...Array(64).fill(IMAGE_TOKEN), AROUND, ...text];
}

const pixels = counterPixels(3 * 512 * 512);

/** Pixel values of a full tile, [3, 512, 512]. */
export function tilePixels(run: number): Float32Array {
  pixels[0] = run / 1024;
  return pixels;
}
