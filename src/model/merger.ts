import { InputError } from '../errors.js';
import type { Tensor } from '../runtime/tensor.js';
import type { BaseModel } from './model.js';
import type { PackedTokens } from './tokens.js';

/**
 * Puts image states in the place of the `<image>` tokens, in order through the batch (inputs_merger of SmolVLMModel, which
 * takes whole images a row, and of Idefics3Model, which only counts). States that are left over are not used, as there.
 * @param hidden [tokens, hidden_size], changed in place
 * @param isImage whether the token at a place row · sequence + column of the batch is an `<image>`
 * @param states [images · seqLen, hidden_size]
 * @param seqLen states of one image
 * @throws InputError when there are more `<image>` tokens than states, or a row's do not divide into images
 */
export function mergeImages(
  { ops, config }: BaseModel,
  hidden: Tensor,
  tokens: PackedTokens,
  isImage: (place: number) => boolean,
  { states, seqLen }: { states: Tensor; seqLen: number },
): void {
  if (config.model_type === 'smolvlm') checkWholeImages(tokens, isImage, seqLen);
  const places = imagePlaces(tokens, isImage);
  if (places.length > states.rows) {
    throw new InputError({
      what: 'more <image> tokens than images',
      where: 'input_ids',
      expected: `at most ${states.rows / seqLen} × ${seqLen} = ${states.rows} tokens`,
      got: `${places.length}`,
    });
  }
  const packed = new Map(Array.from(tokens.places, (place, token) => [place, token]));
  // A masked <image> token takes its state with it, whether it is computed or not.
  const computed = [...places.entries()].filter(([, place]) => packed.has(place));
  const to = ops.engine.uploadInt32(computed.map(([, place]) => packed.get(place)!));
  const from = ops.engine.uploadInt32(computed.map(([state]) => state));
  ops.copyRows(hidden, to, states, from, computed.length);
}

/** The states that computed tokens ask for, by their place among all states of the batch. */
export function usedStates(tokens: PackedTokens, isImage: (place: number) => boolean): Set<number> {
  const computed = new Set(tokens.places);
  const used = new Set<number>();
  for (const [state, place] of imagePlaces(tokens, isImage).entries())
    if (computed.has(place)) used.add(state);
  return used;
}

/** The places of all `<image>` tokens in order: the i-th one's state is the i-th. */
function imagePlaces({ batch, sequence }: PackedTokens, isImage: (place: number) => boolean): number[] {
  return Array.from({ length: batch * sequence }, (_, place) => place).filter(isImage);
}

function checkWholeImages(tokens: PackedTokens, isImage: (place: number) => boolean, seqLen: number): void {
  for (let row = 0; row < tokens.batch; row++) {
    let count = 0;
    for (let column = 0; column < tokens.sequence; column++) {
      if (isImage(row * tokens.sequence + column)) count++;
    }
    if (count % seqLen === 0) continue;
    throw new InputError({
      what: '<image> tokens do not divide into images',
      where: `input_ids, row ${row}`,
      expected: `a multiple of ${seqLen} tokens`,
      got: `${count}`,
    });
  }
}
