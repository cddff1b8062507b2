import {
  loadWeights,
  memoryDtypes,
  type LoadOptions as ReadOptions,
  weightMemoryBytes,
} from '../checkpoint/load.js';
import type { ExpectedTensor } from '../checkpoint/manifest.js';
import type { Engine } from '../runtime/engine.js';
import type { Weight } from '../runtime/weight.js';
import { LayerRing, type OutsideLayer, StreamedLayers } from './layer-ring.js';
import type { LayerSource } from './layer-source.js';
import type { OpenWeights } from './load.js';
import { workingBytes } from './memory.js';
import { type TextLayerWeights, textLayer, type VisionLayerWeights, visionLayer } from './weights.js';

/** The layers of a model that does not lie in memory as a whole. */
export interface LayerStreams {
  readonly vision: LayerSource<VisionLayerWeights>;
  readonly text: LayerSource<TextLayerWeights>;
  /** Gives the files back. */
  close(): Promise<void>;
}

const LAYER = /^model\.(?:vision_model\.encoder|text_model)\.layers\.(\d+)\./;
/** Reading takes 3 MiB of its own at first; the rest is for what rounding up to pages and blocks takes. */
const OVERHEAD_BYTES = 6 << 20;

/** A tower's layers by index, and those of them that stay in memory. */
interface Tower {
  readonly layers: readonly OutsideLayer[];
  readonly held: Set<number>;
}

/**
 * Reads into memory what fits there with room for a run, and leaves the other layers in the files: all that is no layer comes
 * in, then as many text layers as fit (each token needs them), then vision layers (each picture does).
 * @returns all weights by name, those outside with the pointer 0, and the layers; none where everything fits
 * @throws MemoryError, with numbers, if not even two layers fit beside the rest; CheckpointError; AbortError; DisposedError
 */
export async function loadLowMemory(
  { config, expected, shards, quantize }: Omit<OpenWeights, 'close'>,
  engine: Engine,
  options: ReadOptions,
): Promise<{ named: Map<string, Weight>; streams: LayerStreams | undefined }> {
  const { tensors } = expected;
  const sizeOf = (list: readonly ExpectedTensor[]) => weightMemoryBytes(list, shards.tensors, quantize);
  const dtypeOf = memoryDtypes(shards.tensors, quantize);
  const tower = (prefix: string) => towerOf(tensors, prefix, sizeOf);
  const vision = tower('model.vision_model.');
  const text = tower('model.text_model.');
  const room = engine.heap.limit - OVERHEAD_BYTES - workingBytes(config);
  if (sizeOf(tensors) <= room)
    return { named: await loadWeights(shards, tensors, engine, options), streams: undefined };

  const rest = sizeOf(tensors.filter(({ name }) => !LAYER.test(name)));
  const ringFor = (layers: readonly OutsideLayer[]) => LayerRing.bytes(layers, shards, dtypeOf);
  const ringBytes = holdLayers(vision, text, room - rest, ringFor);

  const heldTensors = tensors.filter(({ name }) => {
    const index = LAYER.exec(name)?.[1];
    if (index === undefined) return true;
    return (name.startsWith('model.vision_model.') ? vision : text).held.has(Number(index));
  });
  engine.heap.check(
    sizeOf(heldTensors) + ringBytes,
    'weights, with two layers at a time of those that stay outside',
  );
  const loaded = await loadWeights(shards, heldTensors, engine, options);
  const outside = (one: Tower) => one.layers.map((layer, i) => (one.held.has(i) ? undefined : layer));
  const ring = new LayerRing(
    engine,
    shards,
    dtypeOf,
    [...outside(vision), ...outside(text)].flatMap((layer) => layer ?? []),
  );
  const firstText = outside(text).find((layer) => layer !== undefined);
  const streamed = <T>(one: Tower, make: (named: ReadonlyMap<string, Weight>, index: number) => T) => {
    const held = new Map([...one.held].map((index) => [index, make(loaded, index)]));
    return new StreamedLayers(ring, held, outside(one), make, firstText);
  };
  const named = new Map(
    tensors.map((tensor) => {
      const absent: Weight = { ...tensor, dtype: dtypeOf(tensor.name), pointer: 0 };
      return [tensor.name, loaded.get(tensor.name) ?? absent];
    }),
  );
  const streams = {
    vision: streamed(vision, visionLayer),
    text: streamed(text, textLayer),
    close: () => ring.close(),
  };
  return { named, streams };
}

function towerOf(
  tensors: readonly ExpectedTensor[],
  prefix: string,
  sizeOf: (list: readonly ExpectedTensor[]) => number,
): Tower {
  const layers: ExpectedTensor[][] = [];
  for (const tensor of tensors) {
    const index = tensor.name.startsWith(prefix) ? LAYER.exec(tensor.name)?.[1] : undefined;
    if (index === undefined) continue;
    layers[Number(index)] ??= [];
    layers[Number(index)].push(tensor);
  }
  return { layers: layers.map((own) => ({ tensors: own, bytes: sizeOf(own) })), held: new Set() };
}

/**
 * Chooses the layers that stay in memory, where `bytes` are for them and the ring of the others: all of the text model, if
 * that fits beside a ring of vision layers, which are small; else as many as fit. Returns the ring's bytes.
 */
function holdLayers(
  vision: Tower,
  text: Tower,
  bytes: number,
  ringFor: (layers: readonly OutsideLayer[]) => number,
): number {
  const whole = text.layers.reduce((sum, layer) => sum + layer.bytes, 0);
  const small = vision.layers.length > 0 ? ringFor(vision.layers) : Number.POSITIVE_INFINITY;
  if (whole + small <= bytes) {
    for (const index of text.layers.keys()) text.held.add(index);
    hold(vision.layers, vision.held, bytes - small - whole);
    return small;
  }
  const ring = ringFor([...vision.layers, ...text.layers]);
  const left = hold(text.layers, text.held, bytes - ring);
  hold(vision.layers, vision.held, left);
  return ring;
}

/**
 * Chooses the layers that `bytes` have room for, those that stay outside spread evenly between them: the more is computed
 * from one to the next, the more of the reading is over by then. Returns the bytes that are left.
 */
function hold(layers: readonly OutsideLayer[], held: Set<number>, bytes: number): number {
  const largest = Math.max(1, ...layers.map((layer) => layer.bytes));
  const count = Math.max(0, Math.min(layers.length, Math.floor(bytes / largest)));
  const outside = layers.length - count;
  for (let i = 0; i < layers.length; i++) {
    const isOutside =
      Math.floor(((i + 1) * outside) / layers.length) > Math.floor((i * outside) / layers.length);
    if (!isOutside) held.add(i);
  }
  return bytes - count * largest;
}
