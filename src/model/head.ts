import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import type { Model } from './model.js';
import type { PackedTokens } from './tokens.js';

/** Tokens whose logits are computed and copied out at once: bounds the memory of long prompts. */
const CHUNK = 64;

/** Which columns' logits to compute: the last n (0: all), or these, as the reference's `logits_to_keep`. */
export type LogitsToKeep = number | ArrayLike<number | bigint>;

/**
 * Logits of the kept columns: [B, kept, vocab_size]; rows of pads are 0.
 * @throws InputError for a column outside the sequence
 */
export function* logits(
  model: Model,
  hidden: Tensor,
  tokens: PackedTokens,
  keep: LogitsToKeep = 0,
): Steps<HostTensor<Float32Array>> {
  const { engine } = model.ops;
  const columns = keptColumns(keep, tokens.sequence);
  const vocabulary = model.weights.lm_head.N;
  const dims = [tokens.batch, columns.length, vocabulary];
  const data = new Float32Array(tokens.batch * columns.length * vocabulary);
  const wanted = wantedTokens(tokens, columns);
  for (let start = 0; start < wanted.length; start += CHUNK) {
    const chunk = wanted.slice(start, start + CHUNK);
    const mark = engine.activations.mark();
    const scores = yield* head(
      model,
      hidden,
      chunk.map(({ token }) => token),
    );
    yield* engine.drain();
    const values = engine.f32(scores.pointer, scores.size);
    for (const [i, { target }] of chunk.entries()) {
      data.set(values.subarray(i * vocabulary, (i + 1) * vocabulary), target * vocabulary);
    }
    engine.activations.release(mark);
  }
  return { dims, data };
}

/** Scores of some packed tokens: [tokens, vocab_size] among the activations. */
export function* head({ ops, weights }: Model, hidden: Tensor, tokens: readonly number[]): Steps<Tensor> {
  const { engine } = ops;
  const width = hidden.columns;
  const rows = engine.tensor(tokens.length, width);
  ops.copyRows(rows, 0, hidden, engine.uploadInt32(tokens), tokens.length);
  return yield* ops.linear(rows, { weight: weights.lm_head, fine: true });
}

/**
 * Mean cross entropy of the next tokens, labels of −100 left out (the reference's ForCausalLMLoss); NaN where nothing is
 * left, as there.
 * @param scores [B, S, vocab_size]
 * @param labels [B, S]
 * @throws InputError for a label outside the vocabulary, or a shape that does not fit
 */
export function* causalLoss(
  { ops }: Model,
  scores: HostTensor<Float32Array>,
  labels: HostTensor,
): Steps<number> {
  const [batch, sequence, vocabulary] = scores.dims;
  if (String(labels.dims) !== String([batch, sequence])) {
    throw new InputError({
      what: 'shape does not fit the logits',
      where: 'labels',
      expected: `[${batch}, ${sequence}]`,
      got: `[${labels.dims}]`,
    });
  }
  const { engine } = ops;
  const row = engine.tensor(vocabulary);
  let sum = 0;
  let count = 0;
  for (let i = 0; i < batch * sequence; i++) {
    // The label of the next column; the last column has none.
    const label = (i + 1) % sequence === 0 ? -100 : Number(labels.data[i + 1]);
    if (label === -100) continue;
    checkLabel(label, vocabulary, i + 1);
    engine.f32(row.pointer, vocabulary).set(scores.data.subarray(i * vocabulary, (i + 1) * vocabulary));
    sum += engine.kernels.f64_cross_entropy(row.pointer, vocabulary, label);
    count++;
    yield;
  }
  return Math.fround(sum / count);
}

function checkLabel(label: number, vocabulary: number, index: number): void {
  if (label >= 0 && label < vocabulary) return;
  throw new InputError({
    what: 'label outside the vocabulary',
    where: `labels, index ${index}`,
    expected: `0 … ${vocabulary - 1}, or −100`,
    got: String(label),
  });
}

function keptColumns(keep: LogitsToKeep, sequence: number): number[] {
  if (typeof keep === 'number') {
    const count = keep === 0 ? sequence : Math.min(keep, sequence);
    return Array.from({ length: count }, (_, i) => sequence - count + i);
  }
  return Array.from(keep, (index) => {
    const column = Number(index) < 0 ? Number(index) + sequence : Number(index);
    if (column >= 0 && column < sequence) return column;
    const expected = `${-sequence} … ${sequence - 1}`;
    throw new InputError({
      what: 'column outside the sequence',
      where: 'logits_to_keep',
      expected,
      got: String(index),
    });
  });
}

/** Packed tokens that are wanted, and where their scores go among the kept ones. */
function wantedTokens(tokens: PackedTokens, columns: number[]): { token: number; target: number }[] {
  const packed = new Map(Array.from(tokens.places, (place, token) => [place, token]));
  const wanted: { token: number; target: number }[] = [];
  for (let row = 0; row < tokens.batch; row++) {
    for (const [i, column] of columns.entries()) {
      const token = packed.get(row * tokens.sequence + column);
      if (token !== undefined) wanted.push({ token, target: row * columns.length + i });
    }
  }
  return wanted;
}
