import { type CheckpointLocation, openCheckpoint } from './checkpoint/folder.js';
import { REFERENCE_VERSION } from './configuration/common-attributes.js';
import { sortedJson } from './configuration/json.js';
import { openTarget, type SaveTarget } from './configuration/save-target.js';
import { SmolVLMConfig } from './configuration/smolvlm-config.js';
import { type GenerationConfig, readGenerationConfig } from './generation/config.js';
import { type GenerateArguments, generate } from './generation/generate.js';
import type { GenerateOutput } from './generation/output.js';
import type { GenerateInputs } from './generation/prompt.js';
import type { KVCache } from './model/cache.js';
import { causalLoss, type LogitsToKeep, logits } from './model/head.js';
import type { Model } from './model/model.js';
import type { PrefixCache } from './model/prefix-cache.js';
import { restorePrefix, type SavedPrefix, savePrefix } from './model/prefix-copy.js';
import { CAUSAL_ARGUMENTS, checkPastMask, givenArguments, readLogitsToKeep } from './modeling/arguments.js';
import { type Loaded, loadPretrained } from './modeling/load-pretrained.js';
import type { InitOptions, PretrainedOptions } from './modeling/options.js';
import { type OutputTuple, type SmolVLMCausalLMOutputWithPast, toTuple } from './modeling/outputs.js';
import type { Cancellable } from './modeling/pretrained-model.js';
import { type ModelForwardArguments, orAsBefore, runModel, withDefaults } from './modeling/run-forward.js';
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
   * Loads a checkpoint: a repository of the Hugging Face hub (`org/name`), which is fetched unless it is cached, a folder's
   * path, its URL, or its files by name.
   * @throws HubError, CheckpointError, ConfigError, MemoryError, InputError; AbortError when `signal` is aborted
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
  forward(inputs: ForwardArguments & { return_dict?: true }): Promise<SmolVLMCausalLMOutputWithPast>;
  forward(inputs: ForwardArguments & { return_dict: false }): Promise<OutputTuple>;
  forward(inputs: ForwardArguments): Promise<SmolVLMCausalLMOutputWithPast>;
  async forward(inputs: ForwardArguments): Promise<SmolVLMCausalLMOutputWithPast | OutputTuple> {
    const args = withDefaults(givenArguments(inputs, CAUSAL_ARGUMENTS), this.config);
    checkPastMask(args);
    const useCache = args.use_cache ?? this.config.use_cache;
    const output = await this.run(
      (model) =>
        orAsBefore(model, args.past_key_values, (created) => runForward(model, args, useCache, created)),
      args.signal,
    );
    return args.return_dict ? output : toTuple(output);
  }

  /** What `generate` computed before, for prompts that begin alike. It is there once the weights are. */
  get prefix_cache(): PrefixCacheStatus {
    return this.model.prefixes;
  }

  /**
   * What `prefix_cache` knows of a prompt [1, S], to be kept outside: after `restore_prefix`, prompts that begin like it start
   * behind it, in another process too, with the bits of a fresh run. Undefined where nothing is known, or with `low_memory`.
   * @param inputs as `generate` takes them
   * @throws InputError for a batch; AbortError
   */
  save_prefix(inputs: GenerateInputs, signal?: AbortSignal): Promise<SavedPrefix | undefined> {
    return this.run((model) => savePrefix(model, inputs), signal);
  }

  /**
   * Gives `prefix_cache` what `save_prefix` gave for the same prompt, or one that begins alike.
   * @returns tokens that it is spared; 0 where it is of other weights, of another dtype of the cache, or of the other build
   * @throws InputError for keys and values that do not fit their tokens; MemoryError; AbortError
   */
  restore_prefix(inputs: GenerateInputs, saved: SavedPrefix, signal?: AbortSignal): Promise<number> {
    return this.run((model) => restorePrefix(model, inputs, saved), signal);
  }

  override async ready({ signal }: Cancellable = {}): Promise<this> {
    const { config } = await this.load(signal);
    this.generation_config ??= await readGenerationConfig(await openCheckpoint({}), config);
    return this;
  }

  /** Like the other classes' (see PreTrainedModel), with generation_config.json beside. */
  override async save_pretrained(target: SaveTarget, options: SaveOptions = {}): Promise<void> {
    await this.ready(options);
    await super.save_pretrained(target, options);
    const text = sortedJson({ ...this.generation_config, transformers_version: REFERENCE_VERSION });
    const folder = await openTarget(target);
    await folder.write('generation_config.json', new TextEncoder().encode(text));
  }

  /** The head's values; a tied one's are the token embedding's. */
  get_output_embeddings({ signal }: Cancellable = {}): Promise<Embedding> {
    return this.run(
      ({ ops, named }) => readMatrix(ops.engine, named.get(LM_HEAD) ?? named.get(EMBED_TOKENS)!),
      signal,
    );
  }

  /**
   * Continues each row: greedy decoding, sampling, beam search (GenerationMixin.generate). Left- and right-padded batches
   * give each row what it gives alone.
   * @returns [B · num_return_sequences, S + new]: the prompt and the new ids, rows that ended filled up with pad_token_id;
   * with return_dict_in_generate the whole output
   * @throws InputError, MemoryError; AbortError
   */
  generate(args: GenerateArguments & { return_dict_in_generate: true }): Promise<GenerateOutput>;
  generate(args: GenerateArguments & { return_dict_in_generate?: false }): Promise<HostTensor<Int32Array>>;
  generate(args: GenerateArguments): Promise<GenerateOutput | HostTensor<Int32Array>>;
  async generate(args: GenerateArguments): Promise<GenerateOutput | HostTensor<Int32Array>> {
    await this.ready(args);
    this.check();
    return generate(this.model, this.generation_config, args);
  }
}

/**
 * What the prefix cache holds and has spared: of `lookups` rows of prompts, `hits` began like a known one, which spared them
 * `tokens_reused` tokens. `size` rows are held. The `limit` in bytes may be changed at any time and holds from the next
 * row on. A change of the weights empties it.
 */
export type PrefixCacheStatus = Pick<
  PrefixCache,
  'limit' | 'bytes' | 'size' | 'lookups' | 'hits' | 'tokens_reused' | 'clear'
>;

/** The forward pass with every output that is asked for. */
function* runForward(
  model: Model,
  args: ForwardArguments,
  useCache: boolean,
  created: (cache: KVCache) => void,
): Steps<SmolVLMCausalLMOutputWithPast> {
  const { hidden, tokens, taps, ...rest } = yield* runModel(model, args, useCache, created);
  const scores = yield* logits(model, hidden, tokens, readLogitsToKeep(args.logits_to_keep, tokens.sequence));
  taps?.emit('lm_head', scores);
  const loss = args.labels && (yield* causalLoss(model, scores, args.labels));
  return { loss, logits: scores, ...rest };
}

export * from './configuration/index.js';
export type { GenerationConfig } from './generation/config.js';
export type { GenerateArguments } from './generation/generate.js';
export type { LogitsProcessor, StoppingCriterion } from './generation/hooks.js';
export type { GenerationOptions } from './generation/options.js';
export type { GenerateOutput } from './generation/output.js';
export type { GenerationProgress } from './generation/progress.js';
export type { Streamer } from './generation/run.js';
export { TextStreamer, type TextStreamerOptions } from './generation/text-streamer.js';
export { KVCache as DynamicCache } from './model/cache.js';
export type { CacheLayer } from './model/cache-tensors.js';
export type { LogitsToKeep } from './model/head.js';
export type { SavedPrefix } from './model/prefix-copy.js';
export { AutoModelForImageTextToText } from './modeling/auto-model.js';
export type {
  DeviceOption,
  DTypeName,
  DTypeOption,
  InitOptions,
  PartDTypes,
  PlacementOptions,
  PretrainedOptions,
} from './modeling/options.js';
export type {
  BaseModelOutput,
  OutputTuple,
  SmolVLMBaseModelOutputWithPast,
  SmolVLMCausalLMOutputWithPast,
} from './modeling/outputs.js';
export { type Cancellable, PreTrainedModel } from './modeling/pretrained-model.js';
export { type QuantizeOptions, quantizeCheckpoint } from './modeling/quantize.js';
export type { ModelForwardArguments } from './modeling/run-forward.js';
export type { SaveOptions } from './modeling/save.js';
export { SmolVLMModel } from './modeling/smolvlm-model.js';
export type { ImageCache } from './modeling/text-and-vision.js';
export type { Embedding, ResizeOptions } from './modeling/token-embeddings.js';
export {
  SmolVLMVisionTransformer,
  type VisionEmbeddings,
  type VisionForwardArguments,
} from './modeling/vision-transformer.js';
