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

/** A model's weights by role, without their names. */
export interface ModelWeights {
  vision: VisionWeights;
  connector: Weight;
  text: TextWeights;
  /** The embedding itself where the config ties the two. */
  lm_head: Weight;
}

/** Sorts loaded weights into their roles. The loader has checked that every one of them is there. */
export function modelWeights(weights: ReadonlyMap<string, Weight>, config: SmolVLMConfig): ModelWeights {
  const get = (name: string): Weight => {
    const weight = weights.get(name);
    if (!weight) throw new Error(`weight ${name} was not loaded`);
    return weight;
  };
  const linear = (path: string): LinearWeights => ({
    weight: get(`${path}.weight`),
    bias: weights.get(`${path}.bias`) ?? null,
  });
  const norm = (path: string) => ({ weight: get(`${path}.weight`), bias: get(`${path}.bias`) });
  const layers = <T>(count: number, make: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, index) => make(index));

  const vision = 'model.vision_model';
  const text = 'model.text_model';
  return {
    vision: {
      patch_embedding: linear(`${vision}.embeddings.patch_embedding`),
      position_embedding: get(`${vision}.embeddings.position_embedding.weight`),
      layers: layers(config.vision_config.num_hidden_layers, (index) => {
        const path = `${vision}.encoder.layers.${index}`;
        return {
          layer_norm1: norm(`${path}.layer_norm1`),
          layer_norm2: norm(`${path}.layer_norm2`),
          q_proj: linear(`${path}.self_attn.q_proj`),
          k_proj: linear(`${path}.self_attn.k_proj`),
          v_proj: linear(`${path}.self_attn.v_proj`),
          out_proj: linear(`${path}.self_attn.out_proj`),
          fc1: linear(`${path}.mlp.fc1`),
          fc2: linear(`${path}.mlp.fc2`),
        };
      }),
      post_layernorm: norm(`${vision}.post_layernorm`),
    },
    connector: get('model.connector.modality_projection.proj.weight'),
    text: {
      embed_tokens: get(`${text}.embed_tokens.weight`),
      layers: layers(config.text_config.num_hidden_layers, (index) => {
        const path = `${text}.layers.${index}`;
        return {
          input_layernorm: get(`${path}.input_layernorm.weight`),
          post_attention_layernorm: get(`${path}.post_attention_layernorm.weight`),
          q_proj: linear(`${path}.self_attn.q_proj`),
          k_proj: linear(`${path}.self_attn.k_proj`),
          v_proj: linear(`${path}.self_attn.v_proj`),
          o_proj: linear(`${path}.self_attn.o_proj`),
          gate_proj: linear(`${path}.mlp.gate_proj`),
          up_proj: linear(`${path}.mlp.up_proj`),
          down_proj: linear(`${path}.mlp.down_proj`),
        };
      }),
      norm: get(`${text}.norm.weight`),
    },
    lm_head: config.text_config.tie_word_embeddings
      ? get(`${text}.embed_tokens.weight`)
      : get('lm_head.weight'),
  };
}
