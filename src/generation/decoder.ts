import type { KVCache } from '../model/cache.js';
import type { PositionDtype } from '../model/config.js';
import {
  type ForwardInputs,
  type ForwardOptions,
  forward,
  newCache,
  readPictures,
} from '../model/forward.js';
import { head } from '../model/head.js';
import type { Model } from '../model/model.js';
import { type GrowingRow, prefixRows } from '../model/prefix-row.js';
import type { OnPassProgress } from '../model/progress.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';
import type { Prompt } from './prompt.js';

export interface DecoderOptions {
  position_dtype?: PositionDtype;
  /** Whether to start behind what the prompt has in common with earlier ones, and to keep it for later ones. */
  reuse_prefix?: boolean;
  progress?: OnPassProgress;
  signal?: AbortSignal;
}

/**
 * Runs the model over a growing batch of rows: the prompt in one pass, then a token a row and pass over the KV cache. What
 * the rows held at the end is kept for prompts that begin alike (see PrefixCache).
 */
export class Decoder {
  readonly #model: Model;
  readonly #options: DecoderOptions;
  readonly #cache: KVCache;
  readonly #scores: Float32Array[] = [];
  /** Tokens of each row. */
  #lengths: number[];
  /** What stands at the keys of all passes that were finished, where it is to be kept; of what epoch of the prefix cache. */
  #rows: GrowingRow[] | undefined;
  #epoch = 0;

  constructor(model: Model, prompt: Prompt, options: DecoderOptions) {
    this.#model = model;
    this.#options = options;
    this.#cache = newCache(model, prompt.batch);
    this.#lengths = [...prompt.lengths];
  }

  /**
   * The scores [vocab_size] that follow each row of the prompt; where a row ends in pads, those that follow its last pad.
   * They are overwritten by the next ones.
   */
  async prompt({ inputs }: Prompt): Promise<Float32Array[]> {
    return (await this.#run(() => this.#prefill(inputs))) as Float32Array[];
  }

  /**
   * The scores that follow these ids, one for each row, overwritten by the next ones; rows that are not active take no
   * part: to the model they are pads.
   */
  async next(ids: readonly number[], active: readonly boolean[]): Promise<(Float32Array | undefined)[]> {
    const dims = [ids.length, 1];
    const inputs = {
      input_ids: { dims, data: Int32Array.from(ids, (id, row) => (active[row] ? id : 0)) },
      attention_mask: { dims, data: Uint8Array.from(active, Number) },
      position_ids: { dims, data: Int32Array.from(this.#lengths) },
    };
    const scores = await this.#run(() => this.#lastScores(inputs, { pads: 'none' }));
    for (const [row, id] of ids.entries()) {
      this.#lengths[row]++;
      // Of a pass that was broken off, no key counts.
      if (active[row]) this.#rows?.[row].ids.push(id);
    }
    return scores;
  }

  /** Makes row i what row indices[i] was. @throws AbortError */
  async select(indices: readonly number[]): Promise<void> {
    if (indices.length === this.#cache.batch && indices.every((index, i) => index === i)) return;
    await this.inTurn(() => this.#cache.select(indices));
    this.#lengths = indices.map((index) => this.#lengths[index]);
    this.#rows = this.#rows && indices.map((index) => copyRow(this.#rows![index]));
  }

  /**
   * A short computation over scores, when no other one is under way: with threads it would have to wait for that one's calls,
   * blocking. The event loop has its turn before, where it has waited long enough. @throws AbortError
   */
  inTurn<T>(compute: () => T): Promise<T> {
    // biome-ignore lint/correctness/useYield: one step.
    return this.#run(function* () {
      return compute();
    });
  }

  /** Gives the cache back, but for what the prefix cache keeps. */
  dispose(): void {
    const { prefixes } = this.#model;
    if (this.#rows && this.#epoch === prefixes.epoch) {
      for (const [i, row] of this.#rows.entries()) prefixes.keep(this.#cache, i, row, false);
    }
    this.#cache.dispose();
  }

  /**
   * The prompt, behind what is known of each row: in one pass, or in two where rows begin like others of the batch, which
   * are then known.
   */
  *#prefill(inputs: ForwardInputs): Steps<(Float32Array | undefined)[]> {
    const { config, prefixes } = this.#model;
    const { position_dtype, reuse_prefix, progress } = this.#options;
    const options = { pads: 'last', position_dtype, progress } as const;
    const { input_ids, attention_mask } = inputs;
    if (!reuse_prefix || !input_ids) return yield* this.#lastScores(inputs, options);
    const pictures = yield* readPictures(this.#model, inputs, position_dtype);
    const { epoch } = prefixes;
    const rows = prefixRows(input_ids, attention_mask, config.image_token_id, pictures);
    if (!rows) return yield* this.#lastScores(inputs, { ...options, pictures });
    const scores: (Float32Array | undefined)[] = [];
    for (const stage of prefixes.stages(this.#cache, rows)) {
      const held = rows.map((row, i) =>
        stage.includes(i)
          ? prefixes.adopt(this.#cache, i, row, keyColumns(input_ids, attention_mask, i))
          : Number.POSITIVE_INFINITY,
      );
      // Each pass goes over the same columns.
      this.#cache.seen = 0;
      const some = yield* this.#lastScores(inputs, { ...options, pictures, held });
      for (const i of stage) {
        scores[i] = some[i];
        // For the next pass, and for prompts that come while this one goes on.
        prefixes.keep(this.#cache, i, rows[i], true);
      }
    }
    this.#epoch = epoch;
    this.#rows = rows;
    return scores;
  }

  /** One forward pass and the scores of each row's last computed token. */
  *#lastScores(inputs: ForwardInputs, options: ForwardOptions): Steps<(Float32Array | undefined)[]> {
    const model = this.#model;
    const { engine } = model.ops;
    const step = { ...inputs, past_key_values: this.#cache };
    const { hidden, tokens } = yield* forward(model, step, options);
    const rows = Array.from(tokens.rows.keys()).filter((row) => tokens.rows[row].count > 0);
    const last = rows.map((row) => tokens.rows[row].start + tokens.rows[row].count - 1);
    const scores = yield* head(model, hidden, last);
    yield* engine.drain();
    const result: (Float32Array | undefined)[] = new Array(tokens.batch).fill(undefined);
    for (const [i, row] of rows.entries()) {
      this.#scores[row] ??= new Float32Array(scores.columns);
      this.#scores[row].set(engine.f32(scores.pointer + 4 * i * scores.columns, scores.columns));
      result[row] = this.#scores[row];
    }
    return result;
  }

  #run<T>(compute: () => Steps<T>): Promise<T> {
    return this.#model.ops.engine.run(compute, this.#options.signal);
  }
}

function copyRow(row: GrowingRow): GrowingRow {
  return { ...row, ids: row.ids.slice() };
}

/** Columns of a row that are no pads. */
function keyColumns({ dims: [, sequence] }: HostTensor, mask: HostTensor | undefined, row: number): number[] {
  const columns = Array.from({ length: sequence }, (_, column) => column);
  return mask ? columns.filter((column) => Number(mask.data[row * sequence + column])) : columns;
}
