import type { KVCache } from '../model/cache.js';
import { type ForwardInputs, forward, newCache } from '../model/forward.js';
import { head } from '../model/head.js';
import type { Model } from '../model/model.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';
import { TIE_GAP } from './bounds.js';
import type { Golden } from './golden.js';
import type { GoldenInputs } from './golden-inputs.js';

/** A step of the greedy continuation where we would choose another token. */
export interface GreedyMismatch {
  readonly row: number;
  /** Counted from 0, the first new token. */
  readonly step: number;
  readonly expected: number;
  readonly got: number;
  /** Between the two best logits: the golden's own float64 gap, or ours in float32 where the file has none. */
  readonly gap: number;
  readonly gapOf: 'float64' | 'ours';
}

export interface GreedyVerdict {
  readonly holds: boolean;
  readonly rows: number;
  /** New tokens a row. */
  readonly steps: number;
  readonly mismatches: readonly GreedyMismatch[];
  /** Mismatches where the two best logits are closer than 1e-5: either token is right. */
  readonly ties: readonly GreedyMismatch[];
  /** Why the sequences could not be continued. */
  readonly detail?: string;
}

/**
 * Follows the golden's sequences over the KV cache and asks at each step whether the best token is the one that they
 * go on with: so every step is checked, those behind a tie too. All of them identical means that the continuation is.
 */
export async function runGreedy(model: Model, golden: Golden): Promise<GreedyVerdict | undefined> {
  const { sequences, inputs } = golden;
  if (!sequences) return undefined;
  const { batch, sequence } = inputs;
  const steps = sequences.dims[1] - sequence;
  const refused = refuse(golden, steps);
  if (refused) return { holds: false, rows: batch, steps: 0, mismatches: [], ties: [], detail: refused };
  const cache = newCache(model, batch);
  const found: GreedyMismatch[] = [];
  try {
    let pass = prompt(model, inputs, cache);
    const lengths = rowLengths(pass.attention_mask, batch, sequence);
    for (let step = 0; step < steps; step++) {
      const scores = await model.ops.engine.run(() => lastScores(model, pass, golden));
      const expected = column(sequences, sequence + step);
      for (const [row, token] of expected.entries()) {
        const mismatch = check(scores[row], token);
        if (!mismatch) continue;
        const known = golden.gaps?.[row]?.[step];
        const gap: Pick<GreedyMismatch, 'gap' | 'gapOf'> =
          known === undefined ? { gap: mismatch.gap, gapOf: 'ours' } : { gap: known, gapOf: 'float64' };
        found.push({ row, step, expected: token, got: mismatch.got, ...gap });
      }
      if (!expected.every((id) => id >= 0 && id < scores[0].length)) break;
      const positions = lengths.map((length) => length + step);
      pass = next(model, inputs, expected, positions, cache);
    }
  } finally {
    cache.dispose();
  }
  const mismatches = found.filter(({ gap }) => !(gap < TIE_GAP));
  const ties = found.filter(({ gap }) => gap < TIE_GAP);
  return { holds: mismatches.length === 0, rows: batch, steps, mismatches, ties };
}

/** Says what makes sequences unusable: they must begin with the prompt and go on. */
function refuse({ sequences, inputs }: Golden, steps: number): string | undefined {
  const { batch, sequence, forward } = inputs;
  const { dims, data } = sequences!;
  const ids = forward.input_ids;
  if (!ids) return 'expected inputs.input_ids to continue, got none';
  if (dims[0] !== batch || steps < 0) {
    return `expected [${batch}, ${sequence} or more], got [${dims.join(', ')}]`;
  }
  for (let row = 0; row < batch; row++) {
    for (let i = 0; i < sequence; i++) {
      const [expected, got] = [Number(ids.data[row * sequence + i]), data[row * dims[1] + i]];
      if (got !== expected)
        return `the prompt differs at [${row}, ${i}]: expected id ${expected}, got ${got}`;
    }
  }
  return undefined;
}

/** The first pass as the reference's `generate` makes it: positions count the mask, embeddings go before ids. */
function prompt(model: Model, inputs: GoldenInputs, past_key_values: KVCache): ForwardInputs {
  const { batch, sequence } = inputs;
  const { position_ids: _, ...given } = inputs.forward;
  const attention_mask = given.attention_mask ?? inferredMask(model, given.input_ids!);
  const data = new Int32Array(batch * sequence);
  for (let i = 0, count = 0; i < data.length; i++) {
    if (i % sequence === 0) count = 0;
    data[i] = Number(attention_mask.data[i]) ? count++ : 1;
  }
  const input_ids = given.inputs_embeds ? undefined : given.input_ids;
  const position_ids = { dims: [batch, sequence], data };
  return { ...given, input_ids, attention_mask, position_ids, past_key_values };
}

/** Without a mask `generate` takes every pad_token_id of the prompt for a pad. */
function inferredMask({ config }: Model, { dims, data }: HostTensor): HostTensor {
  const pad = config.text_config.pad_token_id ?? 0;
  const pads = new Set(typeof pad === 'number' ? [pad] : pad);
  return { dims, data: Uint8Array.from(data as Int32Array, (id) => (pads.has(Number(id)) ? 0 : 1)) };
}

function next(
  { config }: Model,
  { forward }: GoldenInputs,
  ids: number[],
  positions: number[],
  past_key_values: KVCache,
): ForwardInputs {
  const dims = [ids.length, 1];
  return {
    input_ids: { dims, data: Int32Array.from(ids) },
    position_ids: { dims, data: Int32Array.from(positions) },
    image_hidden_states: statesAgain(forward.image_hidden_states, ids, config.image_token_id),
    past_key_values,
  };
}

/**
 * States that were given and not encoded go into every pass of the reference's `generate`: an <image> token that it
 * generates gets the first of them, where the reference does not refuse it.
 */
function statesAgain(states: HostTensor | undefined, ids: number[], imageId: number): HostTensor | undefined {
  const count = ids.filter((id) => id === imageId).length;
  if (!states || count === 0) return undefined;
  const width = states.dims[2];
  return { dims: [count, 1, width], data: states.data.slice(0, count * width) };
}

/** The scores of each row's last column, [B] of vocab_size: as in the reference, a pad's where the row ends in pads. */
function* lastScores(model: Model, inputs: ForwardInputs, golden: Golden): Steps<Float32Array[]> {
  const { engine } = model.ops;
  const { hidden, tokens } = yield* forward(model, inputs, { position_dtype: golden.dtype });
  const last = Array.from({ length: tokens.batch }, (_, row) =>
    tokens.places.indexOf((row + 1) * tokens.sequence - 1),
  );
  const scores = yield* head(model, hidden, last);
  const width = scores.columns;
  yield* engine.drain();
  return last.map((_, row) => engine.f32(scores.pointer + 4 * row * width, width).slice());
}

/** undefined if `expected` has the best score (the lowest id of equals), else what has it, and by how much. */
function check(scores: Float32Array, expected: number): { got: number; gap: number } | undefined {
  let got = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id] > scores[got]) got = id;
  // A value that is not finite makes no tie: its gap is NaN.
  if (!scores.every(Number.isFinite)) return { got, gap: NaN };
  return got === expected ? undefined : { got, gap: scores[got] - (scores[expected] ?? NaN) };
}

function rowLengths(mask: HostTensor | undefined, batch: number, sequence: number): number[] {
  return Array.from({ length: batch }, (_, row) => {
    let length = 0;
    for (let i = row * sequence; i < (row + 1) * sequence; i++) if (!mask || Number(mask.data[i])) length++;
    return length;
  });
}

function column({ dims, data }: { dims: readonly number[]; data: readonly number[] }, index: number) {
  return Array.from({ length: dims[0] }, (_, row) => data[row * dims[1] + index]);
}
