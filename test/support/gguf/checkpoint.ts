/**
 * A Llama GGUF as a Hugging Face checkpoint folder that the ordinary loader takes: the text model's dequantised weights
 * under SmolVLM's names, its tokenizer, and a tiny random vision model, since a `smolvlm` checkpoint must have one.
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DTYPE_BYTES, toBfloat16 } from '../../../src/checkpoint/dtypes.js';
import { expectedTensors } from '../../../src/checkpoint/manifest.js';
import { parseConfig } from '../../../src/model/config.js';
import { counterValues } from '../counter.js';
import type { Gguf, GgufTensor } from './file.js';
import { dequantize } from './quants.js';
import { tokenizerConfigOf, tokenizerOf } from './tokenizer.js';

export type CheckpointDtype = 'F32' | 'BF16';

/** Writes config.json, generation_config.json, model.safetensors, tokenizer.json and tokenizer_config.json. */
export function writeCheckpoint(gguf: Gguf, folder: string, dtype: CheckpointDtype): void {
  mkdirSync(folder, { recursive: true });
  const config = configOf(gguf);
  const json = (name: string, value: object) =>
    writeFileSync(join(folder, name), `${JSON.stringify(value)}\n`);
  json('config.json', config);
  json('generation_config.json', { eos_token_id: config.eos_token_id, pad_token_id: config.pad_token_id });
  json('tokenizer.json', tokenizerOf(gguf));
  json('tokenizer_config.json', tokenizerConfigOf(gguf));
  writeWeights(gguf, config, join(folder, 'model.safetensors'), dtype);
}

function configOf(gguf: Gguf) {
  const field = (key: string) => Number(gguf.values.get(key)?.value);
  const vocabSize = field('llama.vocab_size');
  const ids = {
    bos_token_id: field('tokenizer.ggml.bos_token_id'),
    eos_token_id: field('tokenizer.ggml.eos_token_id'),
    pad_token_id: field('tokenizer.ggml.padding_token_id'),
  };
  const text_config = {
    model_type: 'llama',
    vocab_size: vocabSize,
    hidden_size: field('llama.embedding_length'),
    intermediate_size: field('llama.feed_forward_length'),
    num_hidden_layers: field('llama.block_count'),
    num_attention_heads: field('llama.attention.head_count'),
    num_key_value_heads: field('llama.attention.head_count_kv'),
    head_dim: field('llama.rope.dimension_count'),
    hidden_act: 'silu',
    max_position_embeddings: field('llama.context_length'),
    // Stored as float32, meant as the decimal.
    rms_norm_eps: Number(field('llama.attention.layer_norm_rms_epsilon').toPrecision(6)),
    rope_theta: field('llama.rope.freq_base'),
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: !gguf.tensors.some(({ name }) => name === 'output.weight'),
    ...ids,
  };
  const vision_config = {
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    image_size: 32,
    patch_size: 16,
    hidden_act: 'gelu_pytorch_tanh',
  };
  return {
    architectures: ['SmolVLMForConditionalGeneration'],
    model_type: 'smolvlm',
    // Beyond the vocabulary: no token of the text stands for a picture.
    image_token_id: vocabSize,
    scale_factor: 2,
    torch_dtype: 'float32',
    ...ids,
    text_config,
    vision_config,
  };
}

const NAMES: Readonly<Record<string, string>> = {
  token_embd: 'embed_tokens',
  output_norm: 'norm',
  attn_norm: 'input_layernorm',
  ffn_norm: 'post_attention_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** The state-dict name of a GGUF tensor. */
function stateName(name: string): string {
  if (name === 'output.weight') return 'lm_head.weight';
  const [, layer, module] = name.match(/^(?:blk\.(\d+)\.)?(\w+)\.weight$/) ?? [];
  const known = module === undefined ? undefined : NAMES[module];
  if (known === undefined) throw new Error(`a tensor that a Llama does not have: ${name}`);
  return `model.text_model.${layer === undefined ? '' : `layers.${layer}.`}${known}.weight`;
}

function writeWeights(gguf: Gguf, config: object, path: string, dtype: CheckpointDtype): void {
  const parsed = parseConfig(config);
  const sources = new Map(gguf.tensors.map((tensor) => [stateName(tensor.name), tensor]));
  const { tensors } = expectedTensors(parsed);
  const header: Record<string, object> = {};
  let end = 0;
  for (const { name, shape } of tensors) {
    const begin = end;
    end += shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const file = openSync(path, 'w');
  try {
    writeAll(file, headerBytes(header));
    for (const { name, shape } of tensors) {
      const source = sources.get(name);
      const heads = headsOf(name, parsed.text_config);
      const values = source
        ? valuesOf(source, shape, heads)
        : (counterValues(
            name,
            shape,
            { dtype: 'F32' },
            0,
            shape.reduce((a, b) => a * b, 1),
          ) as Float32Array);
      const stored = dtype === 'F32' ? values : Uint16Array.from(values, toBfloat16);
      writeAll(file, new Uint8Array(stored.buffer));
      sources.delete(name);
    }
  } finally {
    closeSync(file);
  }
  if (sources.size > 0) throw new Error(`tensors without a place: ${[...sources.keys()].join(', ')}`);
}

function headerBytes(header: object): Uint8Array {
  const text = JSON.stringify(header);
  const padded = text.padEnd(Math.ceil(text.length / 8) * 8);
  const bytes = Buffer.alloc(8 + padded.length, padded, 'utf8');
  bytes.copyWithin(8, 0);
  bytes.write(padded, 8);
  bytes.writeBigUInt64LE(BigInt(padded.length));
  return bytes;
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

/** How many heads a projection's rows are permuted by; 0: they are not. */
function headsOf(name: string, config: { num_attention_heads: number; num_key_value_heads: number }): number {
  if (name.endsWith('q_proj.weight')) return config.num_attention_heads;
  return name.endsWith('k_proj.weight') ? config.num_key_value_heads : 0;
}

function valuesOf(source: GgufTensor, shape: readonly number[], heads: number): Float32Array {
  const dims = [...source.dims].reverse();
  if (dims.join() !== shape.join()) throw new Error(`${source.name}: expected [${shape}], got [${dims}]`);
  const values = dequantize(
    source.type,
    source.data,
    shape.reduce((product, size) => product * size, 1),
  );
  return heads === 0 ? values : unpermute(values, shape[0], shape[1], heads);
}

/**
 * llama.cpp rotates neighbouring rows of a head, Hugging Face a row and the one half a head below it: the converter put
 * row j·d/2 + i of each head at 2i + j, and here it goes back.
 */
function unpermute(values: Float32Array, rows: number, columns: number, heads: number): Float32Array {
  const out = new Float32Array(values.length);
  const headDim = rows / heads;
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const from = row - within + 2 * (within % (headDim / 2)) + Math.floor(within / (headDim / 2));
    out.set(values.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return out;
}
