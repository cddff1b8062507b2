/**
 * The relative error √(Σ(w − ŵ)² / Σw²) that quantising leaves in weights: our int8 and int4 beside ggml's Q8_0, Q4_0 and
 * Q4_1, on normal and on heavy-tailed weights, on the matrices of a checkpoint, and the time that our packing takes.
 *
 * A checkpoint that was itself dequantised from Q4_1 flatters Q4_1, whose grid it lies on, and says little about 4 bits
 * elsewhere: the drawn weights are the fair comparison.
 * Usage: node build/bench/quantisation.js [CHECKPOINT_FOLDER]. The last line is JSON.
 */
import { decode } from '../src/checkpoint/dtypes.js';
import { openCheckpoint } from '../src/checkpoint/folder.js';
import { Engine } from '../src/runtime/engine.js';
import { weightBytes } from '../src/runtime/weight.js';
import { quantisedRounding, type RowRounding } from '../test/support/dequantised.js';
import { dequantize, GGML_Q4_0, GGML_Q8_0, quantize } from '../test/support/gguf/quants.js';
import { roundQ41, studentT } from './quantisation-reference.js';

/** Bits a weight takes: scales included, where they are as wide as the format says. */
const FORMATS = ['int8', 'Q8_0', 'int4', 'Q4_0', 'Q4_1'] as const;
const BITS = { int8: 8.25, Q8_0: 8.5, int4: 5, Q4_0: 4.5, Q4_1: 5 };
type Errors = Record<(typeof FORMATS)[number], number>;

const engine = await Engine.create();
const ggml =
  (type: typeof GGML_Q4_0 | typeof GGML_Q8_0): RowRounding =>
  (rows) =>
    dequantize(type, quantize(type, rows), rows.length);
const ROUNDINGS: Record<keyof Errors, RowRounding> = {
  int8: quantisedRounding(engine, 8),
  Q8_0: ggml(GGML_Q8_0),
  int4: quantisedRounding(engine, 4),
  Q4_0: ggml(GGML_Q4_0),
  Q4_1: roundQ41,
};

console.log(
  `${'relative error of'.padEnd(44)}${FORMATS.map((name) => `${name} (${BITS[name]})`.padStart(13)).join('')}`,
);
const rows: { weights: string; errors: Errors }[] = [];
const DRAWN = 1 << 20;
report('normal', errors(studentT(DRAWN, Number.POSITIVE_INFINITY, 1), 1024));
report('Student t, 4 degrees', errors(studentT(DRAWN, 4, 2), 1024));
report('Student t, 3 degrees', errors(studentT(DRAWN, 3, 3), 1024));
const [folder] = process.argv.slice(2);
if (folder !== undefined) await checkpoint(folder);
const speed = packingSpeed();
console.log(JSON.stringify({ node: process.version, rows, speed }));

/** Every kind of matrix (the same place in all layers), and all of them. */
async function checkpoint(path: string): Promise<void> {
  const source = await openCheckpoint(path);
  const { tensors, files } = await source.weights();
  const kinds = new Map<string, { values: Float32Array; K: number }[]>();
  for (const [name, { file, shape }] of tensors) {
    if (shape.length !== 2 || /vision|connector/.test(name)) continue;
    const { data, dtype } = await file.readTensor(name);
    const values =
      data instanceof Float32Array
        ? data
        : (decode(
            dtype,
            new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
          ) as Float32Array);
    const kind = name.replace(/layers\.\d+\./, 'layers.*.').replace(/^model\.text_model\./, '');
    kinds.set(kind, [...(kinds.get(kind) ?? []), { values, K: shape[1]! }]);
  }
  for (const [kind, matrices] of kinds) {
    report(
      kind,
      join(
        matrices.map(({ values, K }) => errors(values, K)),
        matrices.map(({ values }) => square(values)),
      ),
    );
  }
  for (const file of files) await file.close();
}

function errors(values: Float32Array, K: number): Errors {
  const left = (rounding: RowRounding) => {
    let sum = 0;
    for (let at = 0; at < values.length; at += 8 * K) {
      const part = values.subarray(at, at + 8 * K);
      const back = rounding(part, K);
      for (let i = 0; i < part.length; i++) sum += (part[i]! - back[i]!) ** 2;
    }
    return Math.sqrt(sum / square(values));
  };
  return Object.fromEntries(FORMATS.map((name) => [name, left(ROUNDINGS[name])])) as Errors;
}

/** Errors of several matrices together. */
function join(parts: Errors[], squares: number[]): Errors {
  const total = squares.reduce((sum, x) => sum + x, 0);
  const all = (name: keyof Errors) =>
    Math.sqrt(parts.reduce((sum, part, i) => sum + part[name] ** 2 * squares[i]!, 0) / total);
  return Object.fromEntries(FORMATS.map((name) => [name, all(name)])) as Errors;
}

function square(values: Float32Array): number {
  return values.reduce((sum, w) => sum + w * w, 0);
}

function report(weights: string, found: Errors): void {
  rows.push({ weights, errors: found });
  const cells = FORMATS.map((name) => `${(100 * found[name]).toFixed(3)} %`.padStart(13));
  console.log(weights.padEnd(44) + cells.join(''));
}

/** Seconds that one thread takes for 256 million weights, from a source in the second-level cache. */
function packingSpeed(): Record<string, number> {
  const K = 2048;
  const ROUNDS = 5;
  const PANELS = 256;
  const { kernels } = engine;
  const source = engine.upload(studentT(8 * K, Number.POSITIVE_INFINITY, 4), [8, K]);
  const half = engine.tensor(4 * K);
  const words = new Uint32Array(engine.f32(source.pointer, 8 * K).slice().buffer);
  const halves = new Uint16Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
  engine.u8(half.pointer, 16 * K).set(new Uint8Array(halves.buffer));
  const panel = engine.activations.allocate(weightBytes('panel', 'I8', 8, K));
  const packs = {
    'int8 from float32': () => kernels.i8_f32_pack(panel, source.pointer, 8, K, K),
    'int8 from bfloat16': () => kernels.i8_bf16_pack(panel, half.pointer, 8, K, K),
    'int4 from float32': () => kernels.i4_f32_pack(panel, source.pointer, 8, K, K),
    'int4 from bfloat16': () => kernels.i4_bf16_pack(panel, half.pointer, 8, K, K),
  };
  const seconds: Record<string, number> = {};
  for (const [name, pack] of Object.entries(packs)) {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS; round++) {
      const started = performance.now();
      for (let i = 0; i < PANELS; i++) pack();
      best = Math.min(best, performance.now() - started);
    }
    seconds[name] = ((best / 1000) * 256e6) / (8 * K * PANELS);
    console.log(`${name}: ${seconds[name].toFixed(2)} s for 256 million weights, one thread`);
  }
  return seconds;
}
