import { jobsOf, placeWeights } from '../checkpoint/load.js';
import type { ExpectedTensor } from '../checkpoint/manifest.js';
import type { Job } from '../checkpoint/pack.js';
import type { Shards } from '../checkpoint/shards.js';
import { type PieceSizes, stagingBytes, WeightReader } from '../checkpoint/weight-reader.js';
import { DisposedError } from '../errors.js';
import type { Engine } from '../runtime/engine.js';
import type { Steps } from '../runtime/steps.js';
import type { PanelDtype, Weight } from '../runtime/weight.js';

/** A layer that lies in the checkpoint's files. */
export interface OutsideLayer {
  readonly tensors: readonly ExpectedTensor[];
  /** Bytes that it takes in memory. */
  readonly bytes: number;
}

type Named = ReadonlyMap<string, Weight>;

/** A place for one layer: what is in it, or on its way there. */
interface Slot {
  readonly pointer: number;
  readonly staging: number;
  layer: OutsideLayer | undefined;
  weights: Named;
  /** Settles when the layer is there, or cannot be read; undefined when nothing is under way. */
  arriving: Promise<void> | undefined;
}

/** Pieces on their way at once. */
const AHEAD = 4;
/** Enough to keep a disk busy while the event loop gets a turn every few milliseconds only; small layers take less. */
const MOST_PIECE_BYTES = 4 << 20;
const SLOTS = 2;

/**
 * A few places in memory that layers are read into in turn: the next one while the present one is computed with.
 * The files are opened at the first read and stay open until `close()`.
 */
export class LayerRing {
  #engine: Engine;
  #shards: Shards;
  #dtypeOf: (name: string) => PanelDtype;
  #sizes: PieceSizes;
  #slots: Slot[] = [];
  /** The slot that is being computed with. */
  #current: Slot | undefined;

  /** @throws MemoryError */
  constructor(
    engine: Engine,
    shards: Shards,
    dtypeOf: (name: string) => PanelDtype,
    layers: readonly OutsideLayer[],
  ) {
    this.#engine = engine;
    this.#shards = shards;
    this.#dtypeOf = dtypeOf;
    const { bytes, staged, sizes } = ringSizes(layers, shards, dtypeOf);
    this.#sizes = sizes;
    for (let i = 0; i < SLOTS; i++) {
      const pointer = engine.allocateWeights(bytes);
      const staging = engine.heap.allocate(staged, 'layers being read');
      this.#slots.push({ pointer, staging, layer: undefined, weights: new Map(), arriving: undefined });
    }
  }

  /** Bytes that a ring for these layers takes. */
  static bytes(
    layers: readonly OutsideLayer[],
    shards: Shards,
    dtypeOf: (name: string) => PanelDtype,
  ): number {
    const { bytes, staged } = ringSizes(layers, shards, dtypeOf);
    return SLOTS * (bytes + staged);
  }

  /**
   * The weights of a layer, there until the next call.
   * @param next the layer that will probably be asked for after it
   * @throws CheckpointError if it cannot be read; DisposedError
   */
  *read(layer: OutsideLayer, next: OutsideLayer | undefined): Steps<Named> {
    // Calls that wait may be using the places that are read into.
    yield* this.#engine.drain();
    let slot = this.#slots.find((one) => one.layer === layer);
    while (!slot) {
      // The layer before is done with, so that its place is free too.
      const free = this.#slots.find(({ arriving }) => !arriving);
      if (free) slot = this.#start(free, layer);
      else yield this.#slots[0].arriving;
    }
    this.#current = slot;
    if (slot.arriving) yield slot.arriving;
    const weights = slot.weights;
    if (next) this.#readAhead(next);
    return weights;
  }

  /** Gives the files back; a later read opens them again. */
  async close(): Promise<void> {
    await Promise.all(this.#slots.map(({ arriving }) => arriving?.catch(() => {})));
    await Promise.all(this.#shards.files.map((file) => file.close()));
  }

  #readAhead(layer: OutsideLayer): void {
    if (this.#slots.some((slot) => slot.layer === layer)) return;
    const free = this.#slots.find((slot) => slot !== this.#current && !slot.arriving);
    if (free) this.#start(free, layer);
  }

  #start(slot: Slot, layer: OutsideLayer): Slot {
    const weights = placeWeights(layer.tensors, this.#dtypeOf, slot.pointer);
    slot.layer = layer;
    slot.weights = new Map(weights.map((weight) => [weight.name, weight]));
    const arriving = this.#fill(slot, jobsOf(weights, this.#shards)).then(
      () => {
        slot.arriving = undefined;
      },
      (error) => {
        // The next call tries again.
        slot.layer = undefined;
        slot.arriving = undefined;
        if (error instanceof DisposedError) void this.close();
        throw error;
      },
    );
    // Nobody may be waiting for a layer that is read ahead.
    arriving.catch(() => {});
    slot.arriving = arriving;
    return slot;
  }

  async #fill({ staging }: Slot, jobs: readonly Job[]): Promise<void> {
    const reader = new WeightReader(this.#engine.apart, staging, jobs, this.#sizes);
    for (const file of this.#shards.files) {
      if (jobs.some(({ tensor }) => tensor.file === file)) await reader.readFile(file);
    }
  }
}

/** Bytes of the largest layer, of what reading it takes beside it, and how it is read. */
function ringSizes(layers: readonly OutsideLayer[], shards: Shards, dtypeOf: (name: string) => PanelDtype) {
  const bytes = Math.max(...layers.map((layer) => layer.bytes));
  const sizes: PieceSizes = {
    pieceBytes: Math.min(MOST_PIECE_BYTES, Math.ceil(bytes / AHEAD)),
    ahead: AHEAD,
  };
  const staged = layers.map(({ tensors }) => {
    return stagingBytes(jobsOf(placeWeights(tensors, dtypeOf, 0), shards), sizes);
  });
  return { bytes, sizes, staged: Math.max(...staged) };
}

/** A tower's layers, some of them in memory for good. */
export class StreamedLayers<T> {
  #ring: LayerRing;
  #held: ReadonlyMap<number, T>;
  #outside: readonly (OutsideLayer | undefined)[];
  #make: (named: Named, index: number) => T;
  #after: OutsideLayer | undefined;

  /**
   * @param held the layers in memory
   * @param outside the others, in their places
   * @param after the layer that is likely to be needed when this tower is done
   */
  constructor(
    ring: LayerRing,
    held: ReadonlyMap<number, T>,
    outside: readonly (OutsideLayer | undefined)[],
    make: (named: Named, index: number) => T,
    after: OutsideLayer | undefined,
  ) {
    this.#ring = ring;
    this.#held = held;
    this.#outside = outside;
    this.#make = make;
    this.#after = after;
  }

  get length(): number {
    return this.#outside.length;
  }

  *read(index: number): Steps<T> {
    const layer = this.#outside[index];
    if (!layer) return this.#held.get(index)!;
    const next = this.#outside.slice(index + 1).find((one) => one !== undefined) ?? this.#after;
    return this.#make(yield* this.#ring.read(layer, next), index);
  }
}
