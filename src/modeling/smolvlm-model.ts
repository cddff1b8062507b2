import type { CheckpointLocation } from '../checkpoint/folder.js';
import { SmolVLMConfig } from '../configuration/smolvlm-config.js';
import type { Steps } from '../runtime/steps.js';
import { checkPastMask, givenArguments, MODEL_ARGUMENTS } from './arguments.js';
import { type Loaded, loadPretrained } from './load-pretrained.js';
import type { InitOptions, PretrainedOptions } from './options.js';
import { type OutputTuple, type SmolVLMBaseModelOutputWithPast, toTuple } from './outputs.js';
import { type ModelForwardArguments, orAsBefore, runModel, unpacked, withDefaults } from './run-forward.js';
import { TextAndVisionModel } from './text-and-vision.js';

/** Both towers without a head (SmolVLMModel): pictures and tokens in, the text model's last hidden states out. */
export class SmolVLMModel extends TextAndVisionModel<'base'> {
  /** Random weights by the config's initializer_range, drawn when they are first needed (see PreTrainedModel). */
  constructor(config: SmolVLMConfig, options: InitOptions | Loaded<'base'> = {}) {
    super('base', config, options, SmolVLMConfig);
  }

  /**
   * Loads any SmolVLM checkpoint without its head, or one that `save_pretrained` of this class wrote.
   * @throws HubError, CheckpointError, ConfigError, MemoryError, InputError; AbortError when `signal` is aborted
   */
  static async from_pretrained(
    location: CheckpointLocation,
    options: PretrainedOptions = {},
  ): Promise<SmolVLMModel> {
    const { loaded, extra } = await loadPretrained('base', location, options, async (folder) =>
      SmolVLMConfig.from_dict(await folder.json('config.json')),
    );
    return new SmolVLMModel(extra, loaded);
  }

  /** A new model whose random weights are there already. */
  static from_config(config: SmolVLMConfig, options: InitOptions = {}): Promise<SmolVLMModel> {
    return new SmolVLMModel(config, options).ready();
  }

  /**
   * One forward pass (SmolVLMModel.forward).
   * @throws InputError for inputs that do not fit each other or the config; MemoryError; AbortError
   */
  forward(inputs: ModelForwardArguments & { return_dict?: true }): Promise<SmolVLMBaseModelOutputWithPast>;
  forward(inputs: ModelForwardArguments & { return_dict: false }): Promise<OutputTuple>;
  forward(inputs: ModelForwardArguments): Promise<SmolVLMBaseModelOutputWithPast>;
  async forward(inputs: ModelForwardArguments): Promise<SmolVLMBaseModelOutputWithPast | OutputTuple> {
    const args = withDefaults(givenArguments(inputs, MODEL_ARGUMENTS), this.config);
    checkPastMask(args);
    const useCache = args.use_cache ?? this.config.use_cache;
    const output = await this.run(
      (model) =>
        orAsBefore(model, args.past_key_values, function* (created): Steps<SmolVLMBaseModelOutputWithPast> {
          const { hidden, tokens, taps: _, ...rest } = yield* runModel(model, args, useCache, created);
          return { last_hidden_state: yield* unpacked(model, tokens, hidden), ...rest };
        }),
      args.signal,
    );
    return args.return_dict ? output : toTuple(output);
  }
}
