import type { KVCache } from '../model/cache.js';
import type { PositionDtype } from '../model/config.js';
import { type ForwardInputs, forward, newCache } from '../model/forward.js';
import { head } from '../model/head.js';
import type { Model } from '../model/model.js';
import type { ComputedPads } from '../model/tokens.js';
import type { Steps } from '../runtime/steps.js';
import type { Prompt } from './prompt.js';

export interface DecoderOptions {
  position_dtype?: PositionDtype;
  signal?: AbortSignal;
}

/** Runs the model over a growing batch of rows: the prompt in one pass, then a token a row and pass over the KV cache. */
export class Decoder {
  readonly #model: Model;
  readonly #options: DecoderOptions;
  readonly #cache: KVCache;
  #lengths: readonly number[];

  constructor(model: Model, prompt: Prompt, options: DecoderOptions) {
    this.#model = model;
    this.#options = options;
    this.#cache = newCache(model, prompt.batch);
    this.#lengths = prompt.lengths;
  }

  /** The scores [vocab_size] that follow each row of the prompt; where a row ends in pads, those that follow its last pad. */
  async prompt({ inputs }: Prompt): Promise<Float32Array[]> {
    return (await this.#run(inputs, 'last')) as Float32Array[];
  }

  /** The scores that follow these ids, one for each row; rows that are not active take no part: to the model they are pads. */
  async next(ids: readonly number[], active: readonly boolean[]): Promise<(Float32Array | undefined)[]> {
    const dims = [ids.length, 1];
    const inputs = {
      input_ids: { dims, data: Int32Array.from(ids, (id, row) => (active[row] ? id : 0)) },
      attention_mask: { dims, data: Uint8Array.from(active, Number) },
      position_ids: { dims, data: Int32Array.from(this.#lengths) },
    };
    this.#lengths = this.#lengths.map((length) => length + 1);
    return this.#run(inputs, 'none');
  }

  /** Makes row i what row indices[i] was. */
  select(indices: readonly number[]): void {
    if (indices.length === this.#cache.batch && indices.every((index, i) => index === i)) return;
    this.#cache.select(indices);
    this.#lengths = indices.map((index) => this.#lengths[index]);
  }

  /** For between two rows' scores: a turn of the event loop where it has waited long enough. @throws AbortError */
  rest(): Promise<void> {
    return this.#model.ops.engine.run(nothing, this.#options.signal);
  }

  dispose(): void {
    this.#cache.dispose();
  }

  #run(inputs: ForwardInputs, pads: ComputedPads): Promise<(Float32Array | undefined)[]> {
    const { position_dtype, signal } = this.#options;
    const step = { ...inputs, past_key_values: this.#cache };
    return this.#model.ops.engine.run(() => lastScores(this.#model, step, pads, position_dtype), signal);
  }
}

/** One forward pass and the scores of each row's last computed token. */
function* lastScores(
  model: Model,
  inputs: ForwardInputs,
  pads: ComputedPads,
  position_dtype: PositionDtype | undefined,
): Steps<(Float32Array | undefined)[]> {
  const { engine } = model.ops;
  const { hidden, tokens } = yield* forward(model, inputs, { pads, position_dtype });
  const rows = Array.from(tokens.rows.keys()).filter((row) => tokens.rows[row].count > 0);
  const last = rows.map((row) => tokens.rows[row].start + tokens.rows[row].count - 1);
  const scores = yield* head(model, hidden, last);
  yield* engine.drain();
  const result: (Float32Array | undefined)[] = new Array(tokens.batch).fill(undefined);
  for (const [i, row] of rows.entries()) {
    result[row] = engine.f32(scores.pointer + 4 * i * scores.columns, scores.columns).slice();
  }
  return result;
}

function* nothing(): Steps<void> {}
