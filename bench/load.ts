/**
 * Loading: a checkpoint of the real 256M size (513 MB in bfloat16, counted weights), written into a temporary folder and
 * loaded from the page cache; beside each load the time of reading the file in the same run: into one buffer that is
 * used again and again, and into fresh memory, which a loader that keeps what it reads must touch too.
 * Usage, after `npm run build`: node build/bench/load.js [DIR]. A folder given is kept, and used again where it is filled.
 * The last line is JSON.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PretrainedOptions } from '../src/modeling.js';
import { SmolVLMForConditionalGeneration } from '../src/modeling.js';
import { counterFolder } from '../test/support/counter.js';

const REPEATS = 5;
const PIECE = 1 << 20;
const MODES: PretrainedOptions['dtype'][] = ['auto'];

const { config, counter } = JSON.parse(readFileSync('test/goldens/full-size-256m.json', 'utf8'));
const given = process.argv[2];
const folder = given ?? (await mkdtemp(join(tmpdir(), 'smolvlm-load-')));
const file = join(folder, 'model.safetensors');
try {
  if (!existsSync(file)) await makeCheckpoint();
  for (const dtype of MODES) await measure(dtype);
} finally {
  if (!given) await rm(folder, { recursive: true });
}

async function makeCheckpoint(): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const [{ source, bytes }] = (await counterFolder(config, counter).weights()).files;
  const target = await open(file, 'w');
  for (let at = 0; at < bytes; at += PIECE) {
    const piece = new Uint8Array(Math.min(PIECE, bytes - at));
    await source.read(at, piece);
    await target.write(piece);
  }
  await target.close();
}

async function measure(dtype: PretrainedOptions['dtype']): Promise<void> {
  const times = {
    reused: [] as number[],
    fresh: [] as number[],
    load: [] as number[],
    forward: [] as number[],
  };
  let bytes = 0;
  for (let round = 0; round < REPEATS; round++) {
    bytes = await timed(times.reused, () => readFile(new Uint8Array(PIECE)));
    await timed(times.fresh, async () => readFile(new Uint8Array(bytes)));
    const model = await timed(times.load, () =>
      SmolVLMForConditionalGeneration.from_pretrained(folder, { dtype }),
    );
    const input_ids = { dims: [1, 1], data: Int32Array.of(1) };
    await timed(times.forward, () => model.forward({ input_ids, use_cache: false }));
    model.dispose();
  }
  const row = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, median(list)]));
  const { reused, fresh, load, forward } = row;
  const rate = (ms: number) => `${ms.toFixed(0)} ms (${(bytes / ms / 1e6).toFixed(1)} GB/s)`;
  console.log(
    `${(bytes / 1e6).toFixed(0)} MB, dtype ${dtype}: load ${rate(load)}, first forward ${forward.toFixed(0)} ms;`,
  );
  console.log(`  reading the file: ${rate(reused)} into one buffer, ${rate(fresh)} into fresh memory;`);
  console.log(`  load is ${(load / reused).toFixed(2)} × and ${(load / fresh).toFixed(2)} × that`);
  console.log(JSON.stringify({ node: process.version, dtype, bytes, ...row }));
}

/** Reads the whole file, a mebibyte at a time, into the buffer (round and round in a small one); returns its size. */
async function readFile(buffer: Uint8Array): Promise<number> {
  const handle = await open(file, 'r');
  let at = 0;
  for (let read = 1; read > 0; at += read) {
    const place = at % buffer.length;
    read = (await handle.read(buffer, place, Math.min(PIECE, buffer.length - place), at)).bytesRead;
  }
  await handle.close();
  return at;
}

async function timed<T>(into: number[], action: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await action();
  into.push(performance.now() - started);
  return result;
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
