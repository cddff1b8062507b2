import type { Engine } from '../runtime/engine.js';

/** Blocks of one size from the heap that count their users: the memory of KV caches, which may share them. */
export class Slabs {
  readonly #engine: Engine;
  /** Bytes of one. */
  readonly bytes: number;
  /** Users of those slabs that have more than one. */
  readonly #users = new Map<number, number>();

  constructor(engine: Engine, bytes: number) {
    this.#engine = engine;
    this.bytes = bytes;
  }

  /** @throws MemoryError */
  allocate(): number {
    return this.#engine.heap.allocate(this.bytes, 'KV cache');
  }

  /** All of them or none. @throws MemoryError */
  allocateAll(count: number): number[] {
    const slabs: number[] = [];
    try {
      while (slabs.length < count) slabs.push(this.allocate());
    } catch (error) {
      for (const slab of slabs) this.release(slab);
      throw error;
    }
    return slabs;
  }

  /** One user more. */
  share(slab: number): void {
    this.#users.set(slab, (this.#users.get(slab) ?? 1) + 1);
  }

  /** Whether it has several users, so that nobody may write to it. */
  isShared(slab: number): boolean {
    return this.#users.has(slab);
  }

  /** One user less; with the last one the memory goes back. */
  release(slab: number): void {
    const users = this.#users.get(slab) ?? 1;
    if (users === 1) this.#engine.heap.free(slab);
    else if (users === 2) this.#users.delete(slab);
    else this.#users.set(slab, users - 1);
  }

  /** Overwrites `to` with what `from` holds; returns `to`. */
  copy(from: number, to: number): number {
    this.#engine.u8(to, this.bytes).set(this.#engine.u8(from, this.bytes));
    return to;
  }
}
