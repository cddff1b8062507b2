import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../../src/checkpoint/folder.js';
import { SmolVLMForConditionalGeneration, SmolVLMTokenizer } from '../../../src/index.js';
import { counterValues } from '../counter.js';
import { writeCheckpoint } from './checkpoint.js';
import { type Gguf, type GgufTensor, type GgufValue, readGguf, writeGguf } from './file.js';
import { dequantize, GGML_F32, GGML_Q4_0, GGML_Q4_1, GGML_Q8_0, ggmlBytes, quantize } from './quants.js';

const U32 = 4;
const F32 = 6;
const STRING = 8;
const ARRAY = 9;
const I32 = 5;

const TOKENS = ['<|end|>', ...Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i)), 'ab'];

/** A Llama of two layers, 32 wide, 2 heads of 16 over 1, its weights in float32. */
function tinyGguf(): Gguf {
  const number = (type: number, value: number): GgufValue => ({ type, value });
  const list = (element: number, value: (string | number)[]): GgufValue => ({ type: ARRAY, element, value });
  const values = new Map<string, GgufValue>([
    ['general.name', { type: STRING, value: 'tiny · größer' }],
    ['llama.block_count', number(U32, 2)],
    ['llama.context_length', number(U32, 64)],
    ['llama.embedding_length', number(U32, 32)],
    ['llama.feed_forward_length', number(U32, 64)],
    ['llama.attention.head_count', number(U32, 2)],
    ['llama.attention.head_count_kv', number(U32, 1)],
    ['llama.rope.dimension_count', number(U32, 16)],
    ['llama.rope.freq_base', number(F32, 10000)],
    ['llama.attention.layer_norm_rms_epsilon', number(F32, Math.fround(1e-5))],
    ['llama.vocab_size', number(U32, TOKENS.length)],
    ['tokenizer.ggml.pre', { type: STRING, value: 'smollm' }],
    ['tokenizer.ggml.tokens', list(STRING, TOKENS)],
    [
      'tokenizer.ggml.token_type',
      list(
        I32,
        TOKENS.map((_, id) => (id === 0 ? 3 : 1)),
      ),
    ],
    ['tokenizer.ggml.merges', list(STRING, ['a b'])],
    ...['bos', 'eos', 'unknown', 'padding'].map(
      (name) => [`tokenizer.ggml.${name}_token_id`, number(U32, 0)] as [string, GgufValue],
    ),
  ]);
  const tensor = (name: string, ...shape: number[]): GgufTensor => {
    const count = shape.reduce((product, size) => product * size, 1);
    const floats = counterValues(name, shape, { dtype: 'F32' }, 0, count) as Float32Array;
    return { name, dims: [...shape].reverse(), type: GGML_F32, data: new Uint8Array(floats.buffer) };
  };
  const layer = (i: number) => [
    tensor(`blk.${i}.attn_norm.weight`, 32),
    tensor(`blk.${i}.attn_q.weight`, 32, 32),
    tensor(`blk.${i}.attn_k.weight`, 16, 32),
    tensor(`blk.${i}.attn_v.weight`, 16, 32),
    tensor(`blk.${i}.attn_output.weight`, 32, 32),
    tensor(`blk.${i}.ffn_norm.weight`, 32),
    tensor(`blk.${i}.ffn_gate.weight`, 64, 32),
    tensor(`blk.${i}.ffn_up.weight`, 64, 32),
    tensor(`blk.${i}.ffn_down.weight`, 32, 64),
  ];
  const embedding = tensor('token_embd.weight', TOKENS.length, 32);
  return { values, tensors: [embedding, tensor('output_norm.weight', 32), layer(0), layer(1)].flat() };
}

test('a GGUF file that is written and read again has the same values and tensors', () => {
  const gguf = tinyGguf();
  const read = readGguf(Buffer.concat([...writeGguf(gguf)]), ggmlBytes);
  assert.equal(read.values, gguf.values);
  const plain = ({ tensors }: Gguf) => tensors.map((tensor) => ({ ...tensor, data: [...tensor.data] }));
  assert.equal(plain(read), plain(gguf));
});

test('Q8_0 is within half a step of 1/127 of the block’s largest value, Q4_0 within a step of 1/8, scales in float16', () => {
  const values = counterValues('x', [64, 32], { dtype: 'F32' }, 0, 2048) as Float32Array;
  for (const [type, bound] of [
    [GGML_Q8_0, 0.5 / 127 + 2 ** -11],
    [GGML_Q4_0, 1 / 8 + 2 ** -11],
  ] as const) {
    const back = dequantize(type, quantize(type, values), values.length);
    for (let at = 0; at < values.length; at += 32) {
      const block = values.subarray(at, at + 32);
      const largest = Math.max(...block.map(Math.abs));
      const error = Math.max(...block.map((value, i) => Math.abs(value - back[at + i])));
      assert.ok(error <= bound * largest, `type ${type}, block ${at / 32}: ${error / largest}`);
    }
  }
});

test('blocks have ggml’s bytes: Q8_0 rounds halves away from zero, Q4_0 takes the extreme to −8, Q4_1 adds its minimum', () => {
  const ramp = Float32Array.from({ length: 32 }, (_, i) => (i - 31) / 2);
  const q8 = quantize(
    GGML_Q8_0,
    Float32Array.from(ramp, (value) => (value / 15.5) * 127),
  );
  assert.equal([...q8.subarray(0, 2)], [0, 0x3c]);
  assert.equal([...new Int8Array(q8.buffer, 2)].slice(-3), [-8, -4, 0]);
  const q4 = quantize(GGML_Q4_0, ramp);
  // −15.5 / −8 = 1.9375, in float16 0x3fc0; byte 0 holds values 0 (level 0) and 16 (−7.5: level 4).
  assert.equal([...q4.subarray(0, 3)], [0xc0, 0x3f, 0x40]);
  const q4_1 = Uint8Array.from([0, 0x3c, 0, 0xc0, ...Array(16).fill(0xf1)]);
  const values = dequantize(GGML_Q4_1, q4_1, 32);
  assert.equal([values[0], values[15], values[16], values[31]], [-1, -1, 13, 13]);
});

test('a checkpoint folder from a GGUF: query and key rows in Hugging Face’s order, all other values as they were', async () => {
  const gguf = tinyGguf();
  const folder = mkdtempSync(join(tmpdir(), 'gguf-'));
  try {
    writeCheckpoint(gguf, folder, 'F32');
    const checkpoint = await openCheckpoint(folder);
    const file = await checkpoint.safetensors('model.safetensors');
    const tensor = async (name: string) =>
      (await file.readTensor(`model.text_model.${name}.weight`)).data as Float32Array;
    const source = (name: string) =>
      new Float32Array(gguf.tensors.find((t) => t.name === name)!.data.slice().buffer);
    const q = await tensor('layers.1.self_attn.q_proj');
    // Row 3 of head 1 turns with row 11; llama.cpp keeps them side by side, at 6 and 7.
    const row = (values: Float32Array, i: number) => values.slice(32 * i, 32 * i + 32);
    assert.equal(row(q, 16 + 3), row(source('blk.1.attn_q.weight'), 16 + 6));
    assert.equal(row(q, 16 + 11), row(source('blk.1.attn_q.weight'), 16 + 7));
    assert.equal(await tensor('layers.0.self_attn.v_proj'), source('blk.0.attn_v.weight'));
    assert.equal(await tensor('embed_tokens'), source('token_embd.weight'));
    await checkpoint.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the ordinary loader takes the folder: the tokenizer merges, and the model answers with tokens of its vocabulary', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gguf-'));
  try {
    writeCheckpoint(tinyGguf(), folder, 'F32');
    const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const tokenizer = new SmolVLMTokenizer(json('tokenizer.json'), json('tokenizer_config.json'));
    assert.equal(tokenizer.encode('abc<|end|>'), [27, 3, 0]);
    const model = await SmolVLMForConditionalGeneration.from_pretrained(folder);
    const input_ids = { dims: [1, 2], data: Int32Array.of(27, 3) };
    const ids = (await model.generate({ input_ids, max_new_tokens: 4, min_new_tokens: 4 })) as {
      data: ArrayLike<number>;
    };
    assert.is(ids.data.length, 6);
    assert.ok(Array.from(ids.data).every((id) => Number(id) >= 0 && Number(id) < TOKENS.length));
    model.dispose();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
