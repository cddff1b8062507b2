import { type CheckpointLocation, openCheckpoint } from './checkpoint/folder.js';
import { REFERENCE_VERSION } from './configuration/common-attributes.js';
import { sortedJson } from './configuration/json.js';
import { openTarget, type SaveTarget } from './configuration/save-target.js';
import { SmolVLMConfig } from './configuration/smolvlm-config.js';
import { InputError } from './errors.js';
import { type GenerationConfig, readGenerationConfig } from './generation/config.js';
import { type GenerateInputs, greedy } from './generation/greedy.js';
import { causalLoss, type LogitsToKeep, logits } from './model/head.js';
import type { Model } from './model/model.js';
import { CAUSAL_ARGUMENTS, checkPastMask, givenArguments, readLogitsToKeep } from './modeling/arguments.js';
import type { InitOptions, PretrainedOptions } from './modeling/options.js';
import { type OutputTuple, type SmolVLMCausalLMOutputWithPast, toTuple } from './modeling/outputs.js';
import { type Loaded, loadPretrained } from './modeling/pretrained-model.js';
import { type ModelForwardArguments, runModel, withDefaults } from './modeling/run-forward.js';
import type { SaveOptions } from './modeling/save.js';
import { TextAndVisionModel } from './modeling/text-and-vision.js';
import { EMBED_TOKENS, type Embedding, LM_HEAD, readMatrix } from './modeling/token-embeddings.js';
import type { Steps } from './runtime/steps.js';
import type { HostTensor } from './runtime/tensor.js';

/** Inputs and switches of `forward`, under the reference's names; null is as good as nothing. */
export interface ForwardArguments extends ModelForwardArguments {
  /** [B, kept]; −100 is left out of the loss (an `<image>` token is not). */
  labels?: HostTensor;
  /** The last n columns (0: all), or these columns. Default: 0. */
  logits_to_keep?: LogitsToKeep | HostTensor;
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
export class SmolVLMForConditionalGeneration extends TextAndVisionModel<'causal'> {
  /** What generation_config.json says, or follows from the config; a new model has it once it is ready. */
  generation_config!: GenerationConfig;

  /** Random weights by the config's initializer_range, drawn when they are first needed (see PreTrainedModel). */
  constructor(
    config: SmolVLMConfig,
    options: InitOptions | Loaded<'causal'> = {},
    generation_config?: GenerationConfig,
  ) {
    super('causal', config, options, SmolVLMConfig);
    if (generation_config) this.generation_config = generation_config;
  }

  /**
   * Loads a checkpoint: a folder's path, its URL, or its files by name.
   * @throws CheckpointError, ConfigError, MemoryError, InputError; AbortError when `signal` is aborted
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: PretrainedOptions = {},
  ): Promise<SmolVLMForConditionalGeneration> {
    const { loaded, extra } = await loadPretrained(
      'causal',
      location,
      options,
      async (folder, { config }) => ({
        config: SmolVLMConfig.from_dict(await folder.json('config.json')),
        generation: await readGenerationConfig(folder, config),
      }),
    );
    return new SmolVLMForConditionalGeneration(extra.config, loaded, extra.generation);
  }

  /** A new model whose random weights are there already. */
  static from_config(
    config: SmolVLMConfig,
    options: InitOptions = {},
  ): Promise<SmolVLMForConditionalGeneration> {
    return new SmolVLMForConditionalGeneration(config, options).ready();
  }

  /**
   * One forward pass (SmolVLMForConditionalGeneration.forward).
   * @throws InputError for inputs that do not fit each other or the config; MemoryError; AbortError
   */
  forward(inputs: ForwardArguments & { return_dict: false }): Promise<OutputTuple>;
  forward(inputs: ForwardArguments): Promise<SmolVLMCausalLMOutputWithPast>;
  async forward(inputs: ForwardArguments): Promise<SmolVLMCausalLMOutputWithPast | OutputTuple> {
    const args = withDefaults(givenArguments(inputs, CAUSAL_ARGUMENTS), this.config);
    checkPastMask(args);
    const useCache = args.use_cache ?? this.config.use_cache;
    const output = await this.run((model) => runForward(model, args, useCache), args.signal);
    return args.return_dict ? output : toTuple(output);
  }

  override async ready(): Promise<this> {
    const { config } = await this.load();
    this.generation_config ??= await readGenerationConfig(await openCheckpoint({}), config);
    return this;
  }

  /** Like the other classes' (see PreTrainedModel), with generation_config.json beside. */
  override async save_pretrained(target: SaveTarget, options: SaveOptions = {}): Promise<void> {
    await this.ready();
    await super.save_pretrained(target, options);
    const text = sortedJson({ ...this.generation_config, transformers_version: REFERENCE_VERSION });
    const folder = await openTarget(target);
    await folder.write('generation_config.json', new TextEncoder().encode(text));
  }

  /** The head's values; a tied one's are the token embedding's. */
  get_output_embeddings(): Promise<Embedding> {
    return this.run(({ ops, named }) =>
      readMatrix(ops.engine, named.get(LM_HEAD) ?? named.get(EMBED_TOKENS)!),
    );
  }

  /**
   * Greedy generation over a KV cache. Left- and right-padded batches give each row what it gives alone.
   * @returns [B, S + new]: the prompt and the new ids, rows that ended filled up with pad_token_id
   * @throws InputError, MemoryError; AbortError
   */
  async generate(args: GenerateArguments): Promise<HostTensor<Int32Array>> {
    await this.ready();
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

  get #model(): Model {
    return this.model;
  }

  #check(): void {
    this.check();
  }
}

/** The forward pass with every output that is asked for. */
function* runForward(
  model: Model,
  args: ForwardArguments,
  useCache: boolean,
): Steps<SmolVLMCausalLMOutputWithPast> {
  const { hidden, tokens, taps, ...rest } = yield* runModel(model, args, useCache);
  const scores = yield* logits(model, hidden, tokens, readLogitsToKeep(args.logits_to_keep, tokens.sequence));
  taps?.emit('lm_head', scores);
  const loss = args.labels && (yield* causalLoss(model, scores, args.labels));
  return { loss, logits: scores, ...rest };
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

export * from './configuration/index.js';
export { KVCache as DynamicCache } from './model/cache.js';
export type { CacheLayer } from './model/cache-tensors.js';
export type { LogitsToKeep } from './model/head.js';
export { AutoModelForImageTextToText } from './modeling/auto-model.js';
export type {
  DeviceOption,
  DTypeName,
  DTypeOption,
  InitOptions,
  PlacementOptions,
  PretrainedOptions,
} from './modeling/options.js';
export type {
  BaseModelOutput,
  OutputTuple,
  SmolVLMBaseModelOutputWithPast,
  SmolVLMCausalLMOutputWithPast,
} from './modeling/outputs.js';
export { PreTrainedModel } from './modeling/pretrained-model.js';
export type { ModelForwardArguments } from './modeling/run-forward.js';
export type { SaveOptions } from './modeling/save.js';
export { SmolVLMModel } from './modeling/smolvlm-model.js';
export type { Embedding, ResizeOptions } from './modeling/token-embeddings.js';
export {
  SmolVLMVisionTransformer,
  type VisionEmbeddings,
  type VisionForwardArguments,
} from './modeling/vision-transformer.js';
