import { type CheckpointLocation, openCheckpoint } from './checkpoint/folder.js';
import { DisposedError, InputError } from './errors.js';
import { type GenerationConfig, readGenerationConfig } from './generation/config.js';
import { type GenerateInputs, greedy } from './generation/greedy.js';
import type { KVCache } from './model/cache.js';
import type { PositionDtype, SmolVLMConfig } from './model/config.js';
import { type ForwardInputs, forward, imageStates } from './model/forward.js';
import { causalLoss, type LogitsToKeep, logits } from './model/head.js';
import { type LoadOptions, loadModel } from './model/load.js';
import type { Model } from './model/model.js';
import { type TapListener, Taps } from './model/taps.js';
import type { Steps } from './runtime/steps.js';
import type { HostTensor } from './runtime/tensor.js';

/** Inputs and switches of `forward`, under the reference's names. */
export interface ForwardArguments extends ForwardInputs {
  /** [B, S]; −100 is left out of the loss. */
  labels?: HostTensor;
  /** Whether the cache comes back. Default: the config's use_cache. */
  use_cache?: boolean;
  output_hidden_states?: boolean;
  output_attentions?: boolean;
  /** The last n columns (0: all), or these columns. */
  logits_to_keep?: LogitsToKeep;
  position_dtype?: PositionDtype;
  /** Called with every intermediate under its module's path in the reference, in forward order. */
  tap?: TapListener;
  signal?: AbortSignal;
}

/** SmolVLMCausalLMOutputWithPast: everything copied out of the engine but the cache. */
export interface SmolVLMCausalLMOutputWithPast {
  loss?: number;
  /** [B, kept, vocab_size]; rows of pads are 0. */
  logits: HostTensor<Float32Array>;
  /** Holds memory until its `dispose()` or the model's. */
  past_key_values?: KVCache;
  /** Embeddings, each layer's output, the last one normed: [B, S, hidden_size] each; rows of pads are 0. */
  hidden_states?: HostTensor<Float32Array>[];
  /** [B, heads, S, past + S] each; rows and columns of pads are 0. */
  attentions?: HostTensor<Float32Array>[];
  /** [images, states, hidden_size]. */
  image_hidden_states?: HostTensor<Float32Array>;
}

export interface GenerateArguments extends GenerateInputs {
  /** Default: the generation_config's, else 128. */
  max_new_tokens?: number;
  /** Default: the generation_config's. */
  eos_token_id?: number | readonly number[];
  pad_token_id?: number;
  /** Gets the prompt's ids, then one id for each row as they are made, then `end()`. */
  streamer?: { put(token_ids: Int32Array): void; end(): void };
  signal?: AbortSignal;
}

/**
 * SmolVLM with its language-modelling head: loads a checkpoint folder as it is, runs forward passes, generates. All calls
 * are asynchronous and give the event loop a turn at least every 20 ms; concurrent calls wait for each other.
 */
export class SmolVLMForConditionalGeneration {
  readonly config: SmolVLMConfig;
  readonly generation_config: GenerationConfig;
  #model: Model;

  private constructor(model: Model, generation_config: GenerationConfig) {
    this.#model = model;
    this.config = model.config;
    this.generation_config = generation_config;
  }

  /**
   * Loads a checkpoint: a folder's path, its URL, or its files by name.
   * @throws CheckpointError, ConfigError, MemoryError; AbortError when `signal` is aborted
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: LoadOptions = {},
  ): Promise<SmolVLMForConditionalGeneration> {
    const folder = await openCheckpoint(location, options);
    try {
      const model = await loadModel(folder, options);
      return new SmolVLMForConditionalGeneration(model, await readGenerationConfig(folder, model.config));
    } finally {
      await folder.close();
    }
  }

  /** Bytes of memory that the model's engine holds. */
  get memory(): number {
    return this.#model.ops.engine.bytes;
  }

  /**
   * One forward pass (SmolVLMForConditionalGeneration.forward).
   * @throws InputError for inputs that do not fit each other or the config; MemoryError; AbortError
   */
  forward(inputs: ForwardArguments): Promise<SmolVLMCausalLMOutputWithPast> {
    return this.#run(() => runForward(this.#model, inputs), inputs.signal);
  }

  /** Pictures [B, N, C, H, W] to states [images, states, hidden_size]; all-zero images are left out. */
  get_image_features(
    pixel_values: HostTensor,
    pixel_attention_mask?: HostTensor,
    { position_dtype, signal }: Pick<ForwardArguments, 'position_dtype' | 'signal'> = {},
  ): Promise<HostTensor<Float32Array>> {
    const inputs = { pixel_values, pixel_attention_mask };
    const model = this.#model;
    return this.#run(function* () {
      const images = yield* imageStates(model, inputs, { position_dtype });
      return imageHiddenStates(model, images)!;
    }, signal);
  }

  /**
   * Greedy generation over a KV cache. Left- and right-padded batches give each row what it gives alone.
   * @returns [B, S + new]: the prompt and the new ids, rows that ended filled up with pad_token_id
   * @throws InputError, MemoryError; AbortError
   */
  async generate(args: GenerateArguments): Promise<HostTensor<Int32Array>> {
    const { max_new_tokens, eos_token_id, pad_token_id, streamer, signal, ...inputs } = args;
    const defaults = this.generation_config;
    const steps: Int32Array[] = [];
    this.#check();
    const prompt = Int32Array.from(inputs.input_ids?.data ?? [], Number);
    streamer?.put(prompt);
    const made = greedy(this.#model, inputs, {
      max_new_tokens: checkCount(max_new_tokens ?? defaults.max_new_tokens ?? 128),
      eos_token_id: [eos_token_id ?? defaults.eos_token_id].flat(),
      pad_token_id: pad_token_id ?? defaults.pad_token_id,
      signal,
    });
    for await (const ids of made) {
      steps.push(ids);
      streamer?.put(ids);
    }
    streamer?.end();
    const [batch, sequence] = inputs.input_ids?.dims ?? [inputs.inputs_embeds!.dims[0], 0];
    return sequences(prompt, batch, sequence, steps);
  }

  /** Frees the engine with the weights. Running calls reject, later ones throw DisposedError. */
  dispose(): void {
    this.#model.ops.engine.dispose();
  }

  #run<T>(compute: () => Steps<T>, signal?: AbortSignal): Promise<T> {
    this.#check();
    return this.#model.ops.engine.run(compute, signal);
  }

  #check(): void {
    if (!this.#model.ops.engine.disposed) return;
    throw new DisposedError({ what: 'the model was disposed of', where: 'SmolVLMForConditionalGeneration' });
  }
}

/** The forward pass with every output that is asked for. */
export function* runForward(model: Model, args: ForwardArguments): Steps<SmolVLMCausalLMOutputWithPast> {
  const { engine } = model.ops;
  const hidden_states: HostTensor<Float32Array>[] = [];
  const attentions: HostTensor<Float32Array>[] = [];
  const taps = args.tap && new Taps(engine, args.tap);
  const owned = args.past_key_values === undefined;
  const collector = new Taps(engine, (_, value) => hidden_states.push(value));
  const result = yield* forward(model, args, {
    taps,
    position_dtype: args.position_dtype,
    observers: {
      hidden: args.output_hidden_states
        ? (index, hidden, tokens) => {
            const place = { dims: [tokens.batch, tokens.sequence], rows: tokens.places };
            collector.write(`hidden_states.${index}`, hidden, place, tokens.count);
          }
        : undefined,
      attentions: args.output_attentions ? (_, value) => attentions.push(value) : undefined,
    },
  });
  const keeps = args.use_cache ?? model.config.use_cache;
  if (owned && !keeps) result.past_key_values.dispose();
  const scores = yield* logits(model, result.hidden, result.tokens, args.logits_to_keep);
  taps?.emit('lm_head', scores);
  return {
    loss: args.labels && (yield* causalLoss(model, scores, args.labels)),
    logits: scores,
    past_key_values: keeps ? result.past_key_values : undefined,
    hidden_states: args.output_hidden_states ? hidden_states : undefined,
    attentions: args.output_attentions ? attentions : undefined,
    image_hidden_states: imageHiddenStates(model, result.images),
  };
}

function imageHiddenStates(
  { ops }: Model,
  images: { states: import('./runtime/tensor.js').Tensor; seqLen: number } | undefined,
): HostTensor<Float32Array> | undefined {
  if (!images) return undefined;
  const { states, seqLen } = images;
  const dims = [states.rows / seqLen, seqLen, states.columns];
  return { dims, data: ops.engine.download(states) };
}

function sequences(prompt: Int32Array, batch: number, sequence: number, steps: Int32Array[]) {
  const length = sequence + steps.length;
  const data = new Int32Array(batch * length);
  for (let row = 0; row < batch; row++) {
    data.set(prompt.subarray(row * sequence, (row + 1) * sequence), row * length);
    for (const [i, ids] of steps.entries()) data[row * length + sequence + i] = ids[row];
  }
  return { dims: [batch, length], data };
}

function checkCount(max_new_tokens: number): number {
  if (Number.isInteger(max_new_tokens) && max_new_tokens > 0) return max_new_tokens;
  const expected = 'an integer above 0';
  const got = String(max_new_tokens);
  throw new InputError({ what: 'wrong value', where: 'max_new_tokens', expected, got });
}
