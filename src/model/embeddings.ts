import { InputError } from '../errors.js';
import type { Steps } from '../runtime/steps.js';
import type { HostTensor, Tensor } from '../runtime/tensor.js';
import type { ForwardInputs } from './forward.js';
import type { BaseModel } from './model.js';
import { textTap } from './tap-places.js';
import type { Taps } from './taps.js';
import type { PackedTokens } from './tokens.js';

const PATH = 'model.text_model.embed_tokens';

export interface TokenEmbeddings {
  /** [tokens, hidden_size]. */
  hidden: Tensor;
  /** Whether the token at a place row · sequence + column is an `<image>`. */
  isImage: (place: number) => boolean;
}

/**
 * The tokens' embeddings: looked up, or those given. Without input_ids an `<image>` is told by its embedding, as the
 * reference does (inputs_merger).
 * @throws InputError for an id outside the vocabulary or embeddings of another width
 */
export function* tokenEmbeddings(
  model: BaseModel,
  { input_ids, inputs_embeds, pixel_values, image_hidden_states }: ForwardInputs,
  tokens: PackedTokens,
  taps?: Taps,
): Steps<TokenEmbeddings> {
  const { ops, config, weights } = model;
  const { embed_tokens } = weights.text;
  const width = config.text_config.hidden_size;
  const imageId = config.image_token_id;
  if (!inputs_embeds) {
    const ids = packedIds(input_ids!, tokens, embed_tokens.N);
    const hidden = ops.gather(embed_tokens, ops.engine.uploadInt32(ids), tokens.count);
    if (taps) yield* textTap(taps, tokens)(PATH, hidden);
    return { hidden, isImage: (place) => Number(input_ids!.data[place]) === imageId };
  }
  const expected = [tokens.batch, tokens.sequence, width];
  if (String(inputs_embeds.dims) !== String(expected)) {
    throw new InputError({
      what: 'wrong shape',
      where: 'inputs_embeds',
      expected: `[${expected}]`,
      got: `[${inputs_embeds.dims}]`,
    });
  }
  const hidden = ops.engine.tensor(tokens.count, width);
  // What is free among the activations may still be in use.
  yield* ops.engine.drain();
  const values = ops.engine.f32(hidden.pointer, hidden.size);
  const given = inputs_embeds.data as Float32Array;
  tokens.places.forEach((place, i) => {
    values.set(given.subarray(place * width, (place + 1) * width), i * width);
  });
  if (input_ids) return { hidden, isImage: (place) => Number(input_ids.data[place]) === imageId };
  if (!pixel_values && !image_hidden_states) return { hidden, isImage: () => false };
  const image = ops.gather(embed_tokens, ops.engine.uploadInt32([imageId]), 1);
  yield* ops.engine.drain();
  const data = ops.engine.download(image);
  taps?.emit(PATH, { dims: [width], data });
  // SmolVLM compares the first channel only, Idefics3 all of them.
  const compared = config.model_type === 'smolvlm' ? data.subarray(0, 1) : data;
  return { hidden, isImage: (place) => compared.every((value, i) => given[place * width + i] === value) };
}

function packedIds(input_ids: HostTensor, tokens: PackedTokens, vocabulary: number): Int32Array {
  return Int32Array.from(tokens.places, (place) => {
    const id = Number(input_ids.data[place]);
    if (id >= 0 && id < vocabulary) return id;
    throw new InputError({
      what: 'token id outside the vocabulary',
      where: `input_ids, row ${Math.floor(place / tokens.sequence)}, column ${place % tokens.sequence}`,
      expected: `0 … ${vocabulary - 1}`,
      got: String(id),
    });
  });
}
