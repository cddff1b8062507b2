/** test/goldens/surface: the calls of python/make_surface_golden.py with their inputs and outputs. */
import { readFileSync } from 'node:fs';
import { openSafetensors, type SafetensorsFile } from '../../src/checkpoint/safetensors.js';
import { fileSource } from '../../src/checkpoint/source.js';
import { compareValues } from '../../src/parity/compare.js';
import type { HostData, HostTensor } from '../../src/runtime/tensor.js';
import { PARITY_NMSE_F32 } from '../tolerance.js';

export const GOLDENS = 'test/goldens';
export const SURFACE = `${GOLDENS}/surface`;

export type Level = 'vision' | 'base' | 'causal';

export interface Call {
  name: string;
  checkpoint: string;
  level: Level;
  arguments: Record<string, unknown>;
  past: string | null;
  crop: number | null;
  inputs: string[];
  tuple: string[];
}

export function readJson(path: string) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

export async function openSurface(): Promise<SafetensorsFile> {
  return openSafetensors(await fileSource(`${SURFACE}/surface.safetensors`));
}

export function readCalls(): Call[] {
  return readJson(`${SURFACE}/calls.json`).calls;
}

export async function readInput(file: SafetensorsFile, call: Call, name: string): Promise<HostTensor> {
  const { shape, data } = await file.readTensor(`${call.name}.inputs.${name}`);
  return { dims: shape, data: data as HostData };
}

/** Outputs of a call by name, as they were in float32 and in float64. */
export async function readOutputs(file: SafetensorsFile, name: string) {
  const prefix = `${name}.outputs.`;
  const names = [...file.tensors.keys()].filter((key) => key.startsWith(prefix));
  const out = new Map<string, { dims: readonly number[]; float32: Float32Array; float64: Float64Array }>();
  for (const key of names) {
    const { shape } = file.info(key);
    const float32 = await file.readFloat32(key);
    out.set(key.slice(prefix.length), {
      dims: shape,
      float32,
      float64: await file.readFloat64(`f64.${key}`),
    });
  }
  return out;
}

/** Why a tensor does not hold against both of its references; nothing where it does. */
export function divergence(
  name: string,
  ours: HostTensor | undefined,
  golden: { dims: readonly number[]; float32: Float32Array; float64: Float64Array },
  keep: (index: number) => boolean = () => true,
): string[] {
  if (!ours) return [`${name}: missing`];
  if (String(ours.dims) !== String(golden.dims)) {
    return [`${name}: shape [${ours.dims}], expected [${golden.dims}]`];
  }
  const length = 1;
  const rows = { keep: Array.from(golden.float32, (_, i) => (keep(i) ? 1 : 0)), length };
  return (['float32', 'float64'] as const).flatMap((dtype) => {
    const result = compareValues(ours.data as Float32Array, golden[dtype], rows);
    if (result.nmse <= PARITY_NMSE_F32 && result.count > 0) return [];
    const { nmse, worst, count } = result;
    return [
      `${name} against ${dtype}: NMSE ${nmse}, ${result.ours} for ${result.reference} at ${worst} of ${count}`,
    ];
  });
}
