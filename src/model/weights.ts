import type { Weight } from '../runtime/weight.js';
import type { SmolVLMConfig } from './config.js';
import { HeldLayers, type LayerSource } from './layer-source.js';

export interface LinearWeights {
  weight: Weight;
  bias: Weight | null;
}

export interface VisionLayerWeights {
  layer_norm1: { weight: Weight; bias: Weight };
  layer_norm2: { weight: Weight; bias: Weight };
  q_proj: LinearWeights;
  k_proj: LinearWeights;
  v_proj: LinearWeights;
  out_proj: LinearWeights;
  fc1: LinearWeights;
  fc2: LinearWeights;
}

export interface VisionWeights {
  patch_embedding: LinearWeights;
  position_embedding: Weight;
  layers: LayerSource<VisionLayerWeights>;
  post_layernorm: { weight: Weight; bias: Weight };
}

export interface TextLayerWeights {
  input_layernorm: Weight;
  post_attention_layernorm: Weight;
  q_proj: LinearWeights;
  k_proj: LinearWeights;
  v_proj: LinearWeights;
  o_proj: LinearWeights;
  gate_proj: LinearWeights;
  up_proj: LinearWeights;
  down_proj: LinearWeights;
}

export interface TextWeights {
  embed_tokens: Weight;
  layers: LayerSource<TextLayerWeights>;
  norm: Weight;
}

/** The weights of SmolVLMModel by role, without their names. */
export interface BaseWeights {
  vision: VisionWeights;
  connector: Weight;
  text: TextWeights;
}

/** The weights of SmolVLMForConditionalGeneration. */
export interface ModelWeights extends BaseWeights {
  /** The embedding itself where the config ties the two. */
  lm_head: Weight;
}

type Named = ReadonlyMap<string, Weight>;

/** Layers that are not all in memory, to take the place of those that would be. */
export interface OtherLayers {
  readonly vision: LayerSource<VisionLayerWeights>;
  readonly text: LayerSource<TextLayerWeights>;
}

/** Finds loaded weights by their names. The loader has checked that every one of them is there. */
class NamedWeights {
  #weights: Named;

  constructor(weights: Named) {
    this.#weights = weights;
  }

  get(name: string): Weight {
    const weight = this.#weights.get(name);
    if (!weight) throw new Error(`weight ${name} was not loaded`);
    return weight;
  }

  linear(path: string): LinearWeights {
    return { weight: this.get(`${path}.weight`), bias: this.#weights.get(`${path}.bias`) ?? null };
  }

  norm(path: string): { weight: Weight; bias: Weight } {
    return { weight: this.get(`${path}.weight`), bias: this.get(`${path}.bias`) };
  }
}

const VISION = 'model.vision_model';
const TEXT = 'model.text_model';

/** Sorts the vision transformer's weights into their roles. */
export function visionWeights(weights: Named, config: SmolVLMConfig, other?: OtherLayers): VisionWeights {
  const named = new NamedWeights(weights);
  const { num_hidden_layers } = config.vision_config;
  return {
    patch_embedding: named.linear(`${VISION}.embeddings.patch_embedding`),
    position_embedding: named.get(`${VISION}.embeddings.position_embedding.weight`),
    layers: other?.vision ?? new HeldLayers(num_hidden_layers, (index) => visionLayer(weights, index)),
    post_layernorm: named.norm(`${VISION}.post_layernorm`),
  };
}

export function visionLayer(weights: Named, index: number): VisionLayerWeights {
  const named = new NamedWeights(weights);
  const path = `${VISION}.encoder.layers.${index}`;
  return {
    layer_norm1: named.norm(`${path}.layer_norm1`),
    layer_norm2: named.norm(`${path}.layer_norm2`),
    q_proj: named.linear(`${path}.self_attn.q_proj`),
    k_proj: named.linear(`${path}.self_attn.k_proj`),
    v_proj: named.linear(`${path}.self_attn.v_proj`),
    out_proj: named.linear(`${path}.self_attn.out_proj`),
    fc1: named.linear(`${path}.mlp.fc1`),
    fc2: named.linear(`${path}.mlp.fc2`),
  };
}

export function textLayer(weights: Named, index: number): TextLayerWeights {
  const named = new NamedWeights(weights);
  const path = `${TEXT}.layers.${index}`;
  return {
    input_layernorm: named.get(`${path}.input_layernorm.weight`),
    post_attention_layernorm: named.get(`${path}.post_attention_layernorm.weight`),
    q_proj: named.linear(`${path}.self_attn.q_proj`),
    k_proj: named.linear(`${path}.self_attn.k_proj`),
    v_proj: named.linear(`${path}.self_attn.v_proj`),
    o_proj: named.linear(`${path}.self_attn.o_proj`),
    gate_proj: named.linear(`${path}.mlp.gate_proj`),
    up_proj: named.linear(`${path}.mlp.up_proj`),
    down_proj: named.linear(`${path}.mlp.down_proj`),
  };
}

/** Sorts loaded weights into their roles, all but the head. */
export function baseWeights(weights: Named, config: SmolVLMConfig, other?: OtherLayers): BaseWeights {
  const named = new NamedWeights(weights);
  const { num_hidden_layers } = config.text_config;
  return {
    vision: visionWeights(weights, config, other),
    connector: named.get('model.connector.modality_projection.proj.weight'),
    text: {
      embed_tokens: named.get(`${TEXT}.embed_tokens.weight`),
      layers: other?.text ?? new HeldLayers(num_hidden_layers, (index) => textLayer(weights, index)),
      norm: named.get(`${TEXT}.norm.weight`),
    },
  };
}

/** Sorts loaded weights into their roles. */
export function modelWeights(weights: Named, config: SmolVLMConfig, other?: OtherLayers): ModelWeights {
  const base = baseWeights(weights, config, other);
  const tied = config.text_config.tie_word_embeddings;
  return {
    ...base,
    lm_head: tied ? base.text.embed_tokens : new NamedWeights(weights).get('lm_head.weight'),
  };
}
