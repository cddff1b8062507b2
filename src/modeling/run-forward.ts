import type { PretrainedConfig } from '../configuration/pretrained-config.js';
import type { KVCache } from '../model/cache.js';
import type { PositionDtype } from '../model/config.js';
import { type ForwardInputs, type ForwardOptions, type ForwardResult, forward } from '../model/forward.js';
import type { BaseModel } from '../model/model.js';
import { textTap } from '../model/tap-places.js';
import { type TapListener, Taps } from '../model/taps.js';
import type { PackedTokens } from '../model/tokens.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';

/** Inputs and switches of `SmolVLMModel.forward`, under the reference's names; null is as good as nothing. */
export interface ModelForwardArguments extends ForwardInputs {
  /** Whether a new cache comes back. One that is given in always does. Default: the config's use_cache. */
  use_cache?: boolean;
  output_hidden_states?: boolean;
  output_attentions?: boolean;
  /** false: a tuple (an array) of the outputs that there are, in the reference's order. Default: the config's. */
  return_dict?: boolean;
  position_dtype?: PositionDtype;
  /** Called with every intermediate under its module's path in the reference, in forward order. */
  tap?: TapListener;
  signal?: AbortSignal;
}

/** What a run gives before its last hidden states become an output. */
export interface ModelRun {
  /** [tokens, hidden_size], normed; valid in the run's scope. */
  hidden: Tensor;
  tokens: PackedTokens;
  taps?: Taps;
  past_key_values?: KVCache;
  hidden_states?: HostTensor<Float32Array>[];
  attentions?: HostTensor<Float32Array>[];
  image_hidden_states?: HostTensor<Float32Array>;
}

/** The switches that a call leaves open, from the config. */
export function withDefaults<
  T extends Pick<ModelForwardArguments, 'output_attentions' | 'output_hidden_states' | 'return_dict'>,
>(args: T, config: PretrainedConfig): T {
  return {
    ...args,
    output_attentions: args.output_attentions ?? config.output_attentions,
    output_hidden_states: args.output_hidden_states ?? config.output_hidden_states,
    return_dict: args.return_dict ?? config.use_return_dict,
  };
}

/** The forward pass of both towers with the outputs that are asked for. */
export function* runModel(
  model: BaseModel,
  args: ModelForwardArguments,
  useCache: boolean,
  created?: ForwardOptions['created'],
): Steps<ModelRun> {
  const { engine } = model.ops;
  const hidden_states: HostTensor<Float32Array>[] = [];
  const attentions: HostTensor<Float32Array>[] = [];
  const taps = args.tap && new Taps(engine, args.tap);
  const given = args.past_key_values;
  const collector = new Taps(engine, (_, value) => hidden_states.push(value));
  const result = yield* forward(model, args, {
    created,
    taps,
    position_dtype: args.position_dtype,
    observers: {
      hidden: args.output_hidden_states
        ? (index, hidden, tokens) => textTap(collector, tokens)(`${index}`, hidden)
        : undefined,
      attentions: args.output_attentions ? (_, value) => attentions.push(value) : undefined,
    },
  });
  const keeps = given !== undefined || useCache;
  if (!keeps) result.past_key_values.dispose();
  return {
    hidden: result.hidden,
    tokens: result.tokens,
    taps,
    past_key_values: keeps ? result.past_key_values : undefined,
    hidden_states: args.output_hidden_states ? hidden_states : undefined,
    attentions: args.output_attentions ? attentions : undefined,
    image_hidden_states: yield* imageHiddenStates(model, result.images),
  };
}

/**
 * A forward pass after which, where it fails or is broken off, a cache that was given is as it was, and a new one gone.
 * @param compute gets what is to be told of a new cache
 */
export function* orAsBefore<T>(
  { ops }: BaseModel,
  given: KVCache | undefined,
  compute: (created: (cache: KVCache) => void) => Steps<T>,
): Steps<T> {
  const seen = given?.seen ?? 0;
  let own: KVCache | undefined;
  let isDone = false;
  try {
    const result = yield* compute((cache) => {
      own = cache;
    });
    // Calls that wait may still be passed over.
    yield* ops.engine.drain();
    isDone = true;
    return result;
  } finally {
    if (!isDone && !ops.engine.disposed) {
      if (given?.seen !== seen) given?.crop(seen);
      own?.dispose();
    }
  }
}

/** Packed rows in their places: [B, S, columns]; rows that were not computed are 0. */
export function* unpacked(
  { ops }: BaseModel,
  { batch, sequence, places }: PackedTokens,
  tensor: Tensor,
): Steps<HostTensor<Float32Array>> {
  const { columns } = tensor;
  yield* ops.engine.drain();
  const source = ops.engine.f32(tensor.pointer, tensor.size);
  const data = new Float32Array(batch * sequence * columns);
  for (const [i, place] of places.entries()) {
    data.set(source.subarray(i * columns, (i + 1) * columns), place * columns);
  }
  return { dims: [batch, sequence, columns], data };
}

/** [images, states, hidden_size]. */
export function* imageHiddenStates(
  { ops }: BaseModel,
  images: ForwardResult['images'],
): Steps<HostTensor<Float32Array> | undefined> {
  if (!images) return undefined;
  yield* ops.engine.drain();
  const { states, seqLen } = images;
  return { dims: [states.rows / seqLen, seqLen, states.columns], data: ops.engine.download(states) };
}
