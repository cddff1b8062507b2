/**
 * Perplexity of a text under a Llama-shaped checkpoint in several precisions of its weights.
 *
 * The text is cut into windows of `--window` tokens that do not overlap; every token but a window's first is predicted
 * from those before it in the window. The modes run one after the other, each in a freshly loaded model; a mode's
 * ratio is its perplexity over the first mode's on the same predictions, with the standard error of its logarithm.
 * Usage: node build/bench/accuracy.js FOLDER [--text FILE] [--window 1024] [--threads 1] [--modes a,b,…]
 * FOLDER is one that build/test/support/gguf/smollm2.js has made. The last line is JSON.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SmolVLMTokenizer } from '../src/processing/tokenizer.js';
import { MODES, type Scores, scoreMode } from './accuracy-modes.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: 'string', default: 'bench/texts/harbour.txt' },
    window: { type: 'string', default: '1024' },
    threads: { type: 'string', default: '1' },
    modes: { type: 'string', default: Object.keys(MODES).join() },
  },
});
const [folder] = positionals;
if (folder === undefined || !existsSync(join(folder, 'hf'))) {
  console.error('usage: accuracy.js FOLDER [--text FILE] [--window N] [--modes a,b,…]');
  process.exit(2);
}
const json = (name: string) => JSON.parse(readFileSync(join(folder, 'hf', name), 'utf8'));
const tokenizer = new SmolVLMTokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
const ids = tokenizer.encode(readFileSync(values.text, 'utf8'), { add_special_tokens: false });
const window = Number(values.window);
const windows = Array.from({ length: Math.ceil(ids.length / window) }, (_, i) =>
  Int32Array.from(ids.slice(i * window, (i + 1) * window)),
);
console.log(`${values.text}: ${ids.length} tokens in windows of ${window}`);

const rows: { mode: string; perplexity: number; ratio: number; error: number }[] = [];
let reference: Scores | undefined;
for (const mode of values.modes.split(',')) {
  const scores = await scoreMode(mode, folder, windows, Number(values.threads));
  const perplexity = Math.exp(mean(scores.losses));
  reference ??= scores;
  const row = { mode, perplexity, ...compare(scores, reference) };
  rows.push(row);
  console.log(
    `${mode.padEnd(22)} ${perplexity.toFixed(4)}  × ${row.ratio.toFixed(5)} ± ${row.error.toFixed(5)}`,
  );
}
console.log(JSON.stringify({ text: values.text, tokens: ids.length, window, node: process.version, rows }));

/** The ratio of two perplexities on the same predictions, and the standard error of its logarithm. */
function compare({ losses }: Scores, reference: Scores): { ratio: number; error: number } {
  const differences = losses.map((loss, i) => loss - reference.losses[i]!);
  const centre = mean(differences);
  const variance = mean(differences.map((d) => (d - centre) ** 2));
  return { ratio: Math.exp(centre), error: Math.sqrt(variance / differences.length) };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
