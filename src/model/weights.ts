import type { Weight } from '../runtime/weight.js';
import type { SmolVLMConfig } from './config.js';

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
  layers: VisionLayerWeights[];
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
  layers: TextLayerWeights[];
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

/** Finds loaded weights by their names. The loader has checked that every one of them is there. */
class NamedWeights {
  #weights: ReadonlyMap<string, Weight>;

  constructor(weights: ReadonlyMap<string, Weight>) {
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
export function visionWeights(weights: ReadonlyMap<string, Weight>, config: SmolVLMConfig): VisionWeights {
  const named = new NamedWeights(weights);
  return {
    patch_embedding: named.linear(`${VISION}.embeddings.patch_embedding`),
    position_embedding: named.get(`${VISION}.embeddings.position_embedding.weight`),
    layers: layers(config.vision_config.num_hidden_layers, (index) => {
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
    }),
    post_layernorm: named.norm(`${VISION}.post_layernorm`),
  };
}

/** Sorts loaded weights into their roles, all but the head. */
export function baseWeights(weights: ReadonlyMap<string, Weight>, config: SmolVLMConfig): BaseWeights {
  const named = new NamedWeights(weights);
  return {
    vision: visionWeights(weights, config),
    connector: named.get('model.connector.modality_projection.proj.weight'),
    text: {
      embed_tokens: named.get(`${TEXT}.embed_tokens.weight`),
      layers: layers(config.text_config.num_hidden_layers, (index) => {
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
      }),
      norm: named.get(`${TEXT}.norm.weight`),
    },
  };
}

/** Sorts loaded weights into their roles. */
export function modelWeights(weights: ReadonlyMap<string, Weight>, config: SmolVLMConfig): ModelWeights {
  const base = baseWeights(weights, config);
  const tied = config.text_config.tie_word_embeddings;
  return {
    ...base,
    lm_head: tied ? base.text.embed_tokens : new NamedWeights(weights).get('lm_head.weight'),
  };
}

function layers<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}
