import { type CheckpointLocation, openCheckpoint } from '../checkpoint/folder.js';
import { forAdapter, type HubOptions } from '../checkpoint/hub/options.js';
import { memoryDtypes, readWeights } from '../checkpoint/load.js';
import type { ExpectedTensor } from '../checkpoint/manifest.js';
import { type ProgressCallback, percent } from '../checkpoint/progress.js';
import { openTarget, type SaveTarget } from '../configuration/save-target.js';
import { checkSignal, InputError } from '../errors.js';
import { type OpenWeights, openWeights } from '../model/load.js';
import { quantizationConfig } from '../model/quantization.js';
import { Engine } from '../runtime/engine.js';
import { isQuantized, type Weight, weightBytes } from '../runtime/weight.js';
import { type Entry, parseShardSize, writeTensors } from './checkpoint-files.js';
import { type DTypeName, type PartDTypes, readDtype } from './dtype-names.js';
import type { SaveOptions } from './save.js';
import { floatEntry, quantizedEntries } from './save.js';
import { dtypesOfParts } from './weight-summary.js';

export interface QuantizeOptions extends Pick<SaveOptions, 'max_shard_size' | 'signal'>, HubOptions {
  /** `int8`, `int4`, or a dtype for each part, as `from_pretrained` takes it; at least one part is quantised. */
  dtype: DTypeName | PartDTypes;
  /** A PEFT folder whose LoRA adapter is merged into the weights before they are quantised. */
  adapter?: CheckpointLocation;
  /** Called as files arrive from a hub, and (`load`) as tensors are written, with bytes of the new checkpoint's weights. */
  progress_callback?: ProgressCallback;
}

/** What lies beside the weights of a checkpoint and is the same for quantised ones. */
const OTHER_FILES = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'preprocessor_config.json',
  'video_preprocessor_config.json',
  'processor_config.json',
  'chat_template.json',
  'chat_template.jinja',
  'README.md',
  'LICENSE',
];

/**
 * Writes a quantised copy of a checkpoint: its matrices with the bits that `from_pretrained` with this `dtype` gives them,
 * so that it loads at the speed of its files. One tensor is in memory at a time. config.json comes last: a folder that was
 * left half written is none.
 * @throws CheckpointError, ConfigError; InputError for a dtype that quantises nothing, or a checkpoint that is quantised;
 * MemoryError; AbortError when `signal` is aborted
 */
export async function quantizeCheckpoint(
  location: CheckpointLocation,
  target: SaveTarget,
  { dtype, adapter, max_shard_size, ...hub }: QuantizeOptions,
): Promise<void> {
  const { signal, progress_callback } = hub;
  checkSignal(signal);
  const limit = parseShardSize(max_shard_size);
  const { dtypes } = readDtype(dtype);
  if (dtypes === 'auto' || !Object.values(dtypes).some(isQuantized)) {
    const expected = 'int8, int4, or an object in which a part has one of them';
    throw new InputError({
      what: 'nothing to quantise',
      where: 'dtype',
      expected,
      got: JSON.stringify(dtype),
    });
  }
  const folder = await openCheckpoint(location, hub);
  const engine = await Engine.create();
  try {
    const base = adapter === undefined ? undefined : await openCheckpoint(adapter, forAdapter(hub));
    const opened = await openWeights('causal', folder, { dtypes, adapter: base });
    try {
      if (opened.config.quantization) throw quantizedAlready(folder.name);
      const output = await openTarget(target);
      const shapes = shapesOf(opened);
      const entries = counted(folder.name, entriesOf(opened, shapes, engine, signal), progress_callback);
      await writeTensors(output, entries, limit, signal);
      for (const file of OTHER_FILES) {
        if (await folder.has(file)) await output.write(file, await folder.bytes(file));
        checkSignal(signal);
      }
      const json = (await folder.json('config.json')) as object;
      const config = { ...json, quantization_config: quantizationConfig(dtypesOfParts(shapes)) };
      await output.write('config.json', new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`));
    } finally {
      await opened.close();
    }
  } finally {
    engine.dispose();
    await folder.close();
  }
}

function quantizedAlready(where: string): InputError {
  const expected = 'the checkpoint that it was made from';
  return new InputError({
    what: 'the checkpoint is quantised already',
    where,
    expected,
    got: 'a quantised one',
  });
}

/** The weights as they will be, without a place. */
function shapesOf({ expected, shards, quantize }: OpenWeights): Weight[] {
  const dtypeOf = memoryDtypes(shards.tensors, quantize);
  return expected.tensors.map((tensor: ExpectedTensor) => ({
    ...tensor,
    dtype: dtypeOf(tensor.name),
    pointer: 0,
  }));
}

function entriesOf(opened: OpenWeights, shapes: Weight[], engine: Engine, signal?: AbortSignal): Entry[] {
  const held = new HeldWeight(opened, engine, signal);
  return shapes.flatMap((shape) => {
    const get = () => held.get(shape);
    return isQuantized(shape.dtype)
      ? quantizedEntries(shape.name, shape, engine, get)
      : [floatEntry(shape.name, shape, engine, false, get)];
  });
}

/** The one weight that is in memory. */
class HeldWeight {
  #opened: OpenWeights;
  #engine: Engine;
  #signal: AbortSignal | undefined;
  #weight: Weight | undefined;

  constructor(opened: OpenWeights, engine: Engine, signal?: AbortSignal) {
    this.#opened = opened;
    this.#engine = engine;
    this.#signal = signal;
  }

  async get(shape: Weight): Promise<Weight> {
    if (this.#weight?.name === shape.name) return this.#weight;
    if (this.#weight) this.#engine.heap.free(this.#weight.pointer);
    this.#weight = undefined;
    const { layout, dtype, N, K } = shape;
    const pointer = this.#engine.allocateWeights(weightBytes(layout, dtype, N, K));
    this.#weight = { ...shape, pointer };
    await readWeights(this.#opened.shards, [this.#weight], this.#engine, { signal: this.#signal });
    return this.#weight;
  }
}

function counted(name: string, entries: Entry[], report?: ProgressCallback): Entry[] {
  if (!report) return entries;
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  return entries.map((entry) => ({
    ...entry,
    async *pieces() {
      for await (const piece of entry.pieces()) {
        yield piece;
        loaded += piece.length;
        report({ status: 'load', name, file: entry.name, progress: percent(loaded, total), loaded, total });
      }
    },
  }));
}
