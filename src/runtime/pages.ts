import type { Engine } from './engine.js';
import type { Kernels } from './kernels.js';

/** Keys in one page of the attention kernels. */
export const PAGE_KEYS = 128;

/** The most channels of a head that smoothed pages take. */
export const SMOOTH_HEAD_DIM = 128;

/** How a page that keys are added to one after the other stores them and values. */
export type CachePageDtype = 'float32' | 'bfloat16' | 'int8' | 'int16';

/** How a page stores keys and values. `smooth8`: all keys of a head written at once, in the relaxed build alone. */
export type PageDtype = CachePageDtype | 'smooth8';

/** Bytes of one page: K and V of 128 keys for one key/value head, and their scales (see Kernels.f32_kv_write and on). */
export function pageBytes(headDim: number, dtype: PageDtype = 'float32'): number {
  const channels = Math.ceil(headDim / 8) * 8;
  if (dtype === 'smooth8') {
    const values = PAGE_KEYS * (4 * Math.ceil(headDim / 4) + channels);
    return values + 2 * 4 * PAGE_KEYS + 2 * 4 * channels + 16;
  }
  if (dtype === 'float32') return 4 * PAGE_KEYS * (headDim + channels);
  if (dtype === 'bfloat16') return 2 * PAGE_KEYS * (headDim + channels);
  const scales = 2 * 4 * PAGE_KEYS;
  const pairs = Math.ceil(headDim / 2);
  return (dtype === 'int8' ? 1 : 2) * PAGE_KEYS * (2 * pairs + channels) + scales;
}

export interface PageKernels {
  write: keyof Kernels;
  attention: keyof Kernels;
  /** Where `attention` leaves no probabilities: the kernel that does, in twice the scratch. */
  watched?: keyof Kernels;
}

/** The kernels that write keys and values to pages of a dtype, and that attend to them. */
export const PAGE_KERNELS = {
  float32: { write: 'f32_kv_write', attention: 'f32_attention' },
  bfloat16: { write: 'bf16_kv_write', attention: 'f32_bf16kv_attention' },
  int8: { write: 'i8_kv_write', attention: 'f32_i8kv_attention' },
  int16: { write: 'i16_kv_write', attention: 'f32_i16kv_attention' },
  smooth8: { write: 's8_kv_write', attention: 'f32_s8kv_attention', watched: 'f32_s8kv_attention_probs' },
} as const satisfies Record<PageDtype, PageKernels>;

/** A page's contents as float32: channel `d` of the key and of the value in a slot. */
export interface PageReader {
  k(slot: number, d: number): number;
  v(slot: number, d: number): number;
}

/** Reads a page in place: good until the memory grows or the page is written. */
export function readPage(
  engine: Engine,
  pointer: number,
  headDim: number,
  dtype: CachePageDtype,
): PageReader {
  if (dtype === 'int8' || dtype === 'int16') return readIntPage(engine, pointer, headDim, dtype);
  const values = PAGE_KEYS * headDim;
  const count = values + PAGE_KEYS * Math.ceil(headDim / 8) * 8;
  const read =
    dtype === 'float32' ? float32Reader(engine, pointer, count) : bfloat16Reader(engine, pointer, count);
  return {
    k: (slot, d) => read(((slot >> 3) * headDim + d) * 8 + (slot & 7)),
    v: (slot, d) => read(values + ((d >> 3) * PAGE_KEYS + slot) * 8 + (d & 7)),
  };
}

function float32Reader(engine: Engine, pointer: number, count: number): (index: number) => number {
  const words = engine.f32(pointer, count);
  return (index) => words[index];
}

function bfloat16Reader(engine: Engine, pointer: number, count: number): (index: number) => number {
  const bytes = engine.u8(pointer, 2 * count);
  const halves = new Uint16Array(bytes.buffer, pointer, count);
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  return (index) => {
    word[0] = halves[index] << 16;
    return float[0];
  };
}

function readIntPage(engine: Engine, pointer: number, headDim: number, dtype: 'int8' | 'int16'): PageReader {
  const pairs = Math.ceil(headDim / 2);
  const values = PAGE_KEYS * 2 * pairs;
  const count = values + PAGE_KEYS * Math.ceil(headDim / 8) * 8;
  const { buffer } = engine.u8(pointer, 0);
  const data: Int8Array | Int16Array =
    dtype === 'int8' ? new Int8Array(buffer, pointer, count) : new Int16Array(buffer, pointer, count);
  const scales = new Float32Array(buffer, pointer + data.byteLength, 2 * PAGE_KEYS);
  return {
    k: (slot, d) =>
      Math.fround(data[(((slot >> 3) * pairs + (d >> 1)) * 8 + (slot & 7)) * 2 + (d & 1)] * scales[slot]),
    v: (slot, d) =>
      Math.fround(
        data[values + ((d >> 3) * (PAGE_KEYS / 2) + (slot >> 1)) * 16 + (d & 7) * 2 + (slot & 1)] *
          scales[PAGE_KEYS + slot],
      ),
  };
}
