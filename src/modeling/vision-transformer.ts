import type { CheckpointLocation } from '../checkpoint/folder.js';
import { configPart } from '../configuration/pretrained-config.js';
import { SmolVLMVisionConfig } from '../configuration/vision-config.js';
import { InputError } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import type { VisionModel } from '../model/model.js';
import { runVision } from '../model/vision-run.js';
import { weightValues } from '../model/weight-values.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor } from '../runtime/tensor.js';
import type { Weight } from '../runtime/weight.js';
import { givenArguments, VISION_ARGUMENTS } from './arguments.js';
import { type Loaded, loadPretrained } from './load-pretrained.js';
import type { InitOptions, PretrainedOptions } from './options.js';
import { type BaseModelOutput, type OutputTuple, toTuple } from './outputs.js';
import { type Cancellable, PreTrainedModel } from './pretrained-model.js';
import { withDefaults } from './run-forward.js';
import { writeMatrix } from './token-embeddings.js';

/** Inputs and switches of `SmolVLMVisionTransformer.forward`; null is as good as nothing. */
export interface VisionForwardArguments {
  /** [B, C, H, W]. */
  pixel_values: HostTensor;
  /** [B, ⌊H / patch_size⌋, ⌊W / patch_size⌋], any dtype: 0 where a patch is no key. Default: all are. */
  patch_attention_mask?: HostTensor | null;
  output_attentions?: boolean | null;
  output_hidden_states?: boolean | null;
  /** false: a tuple (an array) of the outputs that there are. Default: the config's. */
  return_dict?: boolean | null;
  position_dtype?: PositionDtype;
  signal?: AbortSignal;
}

/** The values of SmolVLMVisionEmbeddings. */
export interface VisionEmbeddings {
  /** A convolution: [hidden_size, channels, patch_size, patch_size] and [hidden_size]. */
  readonly patch_embedding: { readonly weight: HostTensor; readonly bias: HostTensor };
  /** [patches, hidden_size]. */
  readonly position_embedding: { readonly weight: HostTensor };
}

const EMBEDDINGS = 'model.vision_model.embeddings';
const NAMES = {
  patchWeight: `${EMBEDDINGS}.patch_embedding.weight`,
  patchBias: `${EMBEDDINGS}.patch_embedding.bias`,
  position: `${EMBEDDINGS}.position_embedding.weight`,
};

/** The SigLIP vision transformer alone (SmolVLMVisionTransformer): pictures to the states of their patches. */
export class SmolVLMVisionTransformer extends PreTrainedModel<'vision', SmolVLMVisionConfig> {
  /** Random weights by the config's initializer_range, drawn when they are first needed (see PreTrainedModel). */
  constructor(config: SmolVLMVisionConfig, options: InitOptions | Loaded<'vision'> = {}) {
    super('vision', config, options, SmolVLMVisionConfig);
  }

  /**
   * Takes the vision tower out of any SmolVLM checkpoint, or reads one that `save_pretrained` of this class wrote. (The
   * reference finds none of its tensors in a whole checkpoint and draws random weights.)
   * @throws HubError, CheckpointError, ConfigError, MemoryError, InputError; AbortError when `signal` is aborted
   */
  static async from_pretrained(location: CheckpointLocation, options: PretrainedOptions = {}) {
    const { loaded, extra } = await loadPretrained('vision', location, options, async (folder) => {
      const json = await folder.json('config.json');
      return SmolVLMVisionConfig.from_dict(configPart(json, SmolVLMVisionConfig));
    });
    return new SmolVLMVisionTransformer(extra, loaded);
  }

  /** A new model whose random weights are there already. */
  static from_config(
    config: SmolVLMVisionConfig,
    options: InitOptions = {},
  ): Promise<SmolVLMVisionTransformer> {
    return new SmolVLMVisionTransformer(config, options).ready();
  }

  /**
   * All pictures of the batch are encoded, all-zero ones too.
   * @throws InputError for inputs that do not fit each other or the config; MemoryError; AbortError
   */
  forward(args: VisionForwardArguments & { return_dict?: true | null }): Promise<BaseModelOutput>;
  forward(args: VisionForwardArguments & { return_dict: false }): Promise<OutputTuple>;
  forward(args: VisionForwardArguments): Promise<BaseModelOutput>;
  async forward(args: VisionForwardArguments): Promise<BaseModelOutput | OutputTuple> {
    const given = givenArguments(args, VISION_ARGUMENTS) as { [K in keyof VisionForwardArguments]: never };
    const { return_dict, signal, ...rest } = withDefaults(given, this.config) as VisionForwardArguments;
    const { pixel_values } = rest;
    if (!pixel_values) {
      const expected = '[batch, channels, height, width]';
      throw new InputError({ what: 'no pictures given', where: 'pixel_values', expected, got: 'nothing' });
    }
    const output = await this.run((model) => runVision(model, pixel_values, rest), signal);
    return return_dict ? output : toTuple(output);
  }

  /** The values of the patch and position embeddings. */
  get_input_embeddings({ signal }: Cancellable = {}): Promise<VisionEmbeddings> {
    return this.run(function* ({ ops, named }) {
      const read = function* (name: string): Steps<HostTensor<Float32Array>> {
        const weight = named.get(name)!;
        return { dims: weight.shape, data: yield* weightValues(ops.engine, weight) };
      };
      return {
        patch_embedding: { weight: yield* read(NAMES.patchWeight), bias: yield* read(NAMES.patchBias) },
        position_embedding: { weight: yield* read(NAMES.position) },
      };
    }, signal);
  }

  /**
   * Sets them, rounded to the weights' dtype. An abort is answered until it has begun.
   * @throws InputError for another shape; AbortError
   */
  set_input_embeddings(
    { patch_embedding, position_embedding }: VisionEmbeddings,
    { signal }: Cancellable = {},
  ): Promise<void> {
    const write = function* ({ ops, named }: VisionModel): Steps<void> {
      const set = (name: string, value: HostTensor) =>
        writeMatrix(ops.engine, named.get(name) as Weight, value);
      yield* set(NAMES.patchWeight, patch_embedding.weight);
      yield* set(NAMES.patchBias, patch_embedding.bias);
      yield* set(NAMES.position, position_embedding.weight);
    };
    return this.run(write, signal, { whole: true });
  }
}
