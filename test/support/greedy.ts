import { InputError } from '../../src/errors.js';
import {
  checkContext,
  type GenerateInputs,
  promptPositions,
  rowLengths,
} from '../../src/generation/prompt.js';
import type { KVCache } from '../../src/model/cache.js';
import { type ForwardInputs, forward, newCache } from '../../src/model/forward.js';
import { head } from '../../src/model/head.js';
import type { Model } from '../../src/model/model.js';
import type { ComputedPads } from '../../src/model/tokens.js';
import type { Steps } from '../../src/runtime/steps.js';

export type { GenerateInputs };

export interface GreedyOptions {
  /** Tokens to generate at most. */
  max_new_tokens: number;
  /** Ids that end a row. Empty: none does. */
  eos_token_id: readonly number[];
  /** What a row that has ended is filled up with. Default: the first eos. */
  pad_token_id?: number;
  signal?: AbortSignal;
}

/**
 * Greedy decoding (the reference's `generate` with do_sample false): the prompt in one pass, then a token a pass over the
 * KV cache. Ties go to the lowest id. Yields one id for each row per step, `pad_token_id` for rows that have ended, and
 * stops when all have.
 * @throws InputError for an empty row, or a prompt that leaves the context no room
 */
export async function* greedy(
  model: Model,
  inputs: GenerateInputs,
  options: GreedyOptions,
): AsyncGenerator<Int32Array, void, void> {
  const { engine } = model.ops;
  const [batch, sequence] = (inputs.input_ids ?? inputs.inputs_embeds)?.dims ?? [];
  if (batch === undefined) {
    const expected = 'one of the two';
    throw new InputError({
      what: 'no tokens given',
      where: 'input_ids, inputs_embeds',
      expected,
      got: 'neither',
    });
  }
  const lengths = rowLengths(inputs.attention_mask, batch, sequence);
  checkContext(model, lengths);
  const state = new GreedyState(batch, options);
  const cache = newCache(model, batch);
  try {
    const position_ids = promptPositions(inputs.attention_mask, batch, sequence);
    let step: ForwardInputs = { ...inputs, position_ids, past_key_values: cache };
    for (let made = 0; made < options.max_new_tokens; made++) {
      const pads = made === 0 ? 'last' : 'none';
      const ids = await engine.run(() => nextTokens(model, step, pads), options.signal);
      yield state.accept(ids);
      if (state.ended) return;
      step = state.step(cache, lengths, made);
    }
  } finally {
    cache.dispose();
  }
}

/**
 * One forward pass and, for each row, the id with the best score in its last column (−1 where the row takes no part). For
 * a right-padded row that column is a pad, as in the reference.
 */
function* nextTokens(model: Model, inputs: ForwardInputs, pads: ComputedPads): Steps<Int32Array> {
  const { engine } = model.ops;
  const { hidden, tokens } = yield* forward(model, inputs, { pads });
  const rows = Array.from(tokens.rows.keys()).filter((row) => tokens.rows[row].count > 0);
  const last = rows.map((row) => tokens.rows[row].start + tokens.rows[row].count - 1);
  const scores = yield* head(model, hidden, last);
  yield* engine.drain();
  const ids = new Int32Array(tokens.batch).fill(-1);
  for (const [i, row] of rows.entries()) {
    ids[row] = engine.kernels.f32_argmax(scores.pointer + 4 * i * scores.columns, scores.columns);
    if (ids[row] < 0) {
      const where = `row ${row}`;
      throw new InputError({ what: 'the scores hold NaN', where, expected: 'finite inputs and weights' });
    }
  }
  return ids;
}

/** Which rows still run, and the inputs of their next pass. */
class GreedyState {
  #running: boolean[];
  #options: GreedyOptions;
  #ids: Int32Array;
  #pad: number;

  constructor(batch: number, options: GreedyOptions) {
    this.#running = new Array(batch).fill(true);
    this.#options = options;
    this.#pad = options.pad_token_id ?? options.eos_token_id[0] ?? 0;
    this.#ids = new Int32Array(batch);
  }

  get ended(): boolean {
    return !this.#running.includes(true);
  }

  /** The ids of this step as they are given out; rows that make an eos end with it. */
  accept(ids: Int32Array): Int32Array {
    this.#ids = ids.map((id, row) => (this.#running[row] ? id : this.#pad));
    this.#running = this.#running.map((on, row) => on && !this.#options.eos_token_id.includes(ids[row]));
    return this.#ids.slice();
  }

  /** The next pass: one token a row. Rows that have ended take no part: to the model they are pads. */
  step(past_key_values: KVCache, lengths: number[], made: number): ForwardInputs {
    const dims = [this.#running.length, 1];
    return {
      input_ids: { dims, data: this.#ids.map((id, row) => (this.#running[row] ? id : 0)) },
      attention_mask: { dims, data: Uint8Array.from(this.#running, Number) },
      position_ids: { dims, data: Int32Array.from(lengths, (length) => length + made) },
      past_key_values,
    };
  }
}
