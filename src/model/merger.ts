import { InputError } from '../errors.js';
import type { Ops } from '../runtime/ops.js';
import type { Tensor } from '../runtime/tensor.js';
import type { PackedTokens } from './tokens.js';

/**
 * Puts image states in the place of the `<image>` tokens, in order through the batch (SmolVLMModel.inputs_merger).
 * @param hidden [tokens, hidden_size], changed in place
 * @param isImage whether the token at a place row · sequence + column of the batch is an `<image>`
 * @param states [images · seqLen, hidden_size]
 * @param seqLen states of one image
 * @throws InputError when a row's `<image>` tokens are no multiple of seqLen, or the images are too few
 */
export function mergeImages(
  ops: Ops,
  hidden: Tensor,
  tokens: PackedTokens,
  isImage: (place: number) => boolean,
  states: Tensor,
  seqLen: number,
): void {
  const starts = imageStarts(tokens, isImage, seqLen);
  const needed = starts.reduce((sum, { blocks }) => sum + blocks, 0);
  const images = states.rows / seqLen;
  if (needed > images) {
    throw new InputError({
      what: 'more <image> tokens than images',
      where: 'input_ids',
      expected: `at most ${images} × ${seqLen} = ${images * seqLen} tokens`,
      got: `${needed * seqLen}`,
    });
  }
  const bytes = 4 * hidden.columns;
  for (const [row, { start, count }] of tokens.rows.entries()) {
    let state = starts[row].first * seqLen;
    // A masked <image> token takes its state with it, so the row is walked with its pads.
    let packed = start;
    for (let column = 0; column < tokens.sequence; column++) {
      const place = row * tokens.sequence + column;
      const kept = packed < start + count && tokens.places[packed] === place;
      if (isImage(place)) {
        if (kept) {
          const target = ops.engine.u8(hidden.pointer + packed * bytes, bytes);
          target.set(ops.engine.u8(states.pointer + state * bytes, bytes));
        }
        state++;
      }
      if (kept) packed++;
    }
  }
}

/** For each row the first of its images and their number. */
function imageStarts(tokens: PackedTokens, isImage: (place: number) => boolean, seqLen: number) {
  let first = 0;
  return tokens.rows.map((_, row) => {
    let count = 0;
    for (let column = 0; column < tokens.sequence; column++) {
      if (isImage(row * tokens.sequence + column)) count++;
    }
    if (count % seqLen !== 0) {
      throw new InputError({
        what: '<image> tokens do not divide into images',
        where: `input_ids, row ${row}`,
        expected: `a multiple of ${seqLen} tokens`,
        got: `${count}`,
      });
    }
    const blocks = count / seqLen;
    const start = { first, blocks };
    first += blocks;
    return start;
  });
}
