import { MemoryError } from '../errors.js';

const ALIGNMENT = 64;
const PAGE = 65536;
/** Linear memory ends at 2^32 bytes; the last page is left out so that an end pointer still fits 32 bits. */
export const MEMORY_LIMIT = 65535 * PAGE;

interface Block {
  pointer: number;
  bytes: number;
}

/**
 * First-fit allocator over the one linear memory. It serves large, long-lived blocks (weights, cache slabs, the
 * chunks of arenas), so its book-keeping stays on the JavaScript side. Pointers are 64-byte aligned.
 */
export class Heap {
  readonly memory: WebAssembly.Memory;
  /** Upper bound of the memory this heap may take, in bytes. */
  readonly limit: number;
  #top: number;
  #free: Block[] = [];
  #used = new Map<number, number>();
  #usedBytes = 0;
  readonly #reserves = new Set<() => boolean>();

  constructor(memory: WebAssembly.Memory, base: number, limit: number) {
    this.memory = memory;
    this.limit = Math.min(limit, MEMORY_LIMIT);
    this.#top = align(base);
  }

  /** Bytes handed out and not freed. */
  get used(): number {
    return this.#usedBytes;
  }

  /**
   * Names a holder of memory that is only useful, not needed (a cache): when memory runs short it is asked to free
   * something, again and again, until it returns false. It may not allocate.
   * @returns a function that takes the name off again
   */
  onShortage(giveBack: () => boolean): () => void {
    this.#reserves.add(giveBack);
    return () => this.#reserves.delete(giveBack);
  }

  /** Throws MemoryError, with the numbers, if `bytes` more cannot fit. */
  check(bytes: number, purpose: string): void {
    const available = () => this.limit - this.#top + this.#free.reduce((sum, block) => sum + block.bytes, 0);
    while (bytes > available()) if (!this.#reclaim()) this.#exhausted(bytes, purpose);
  }

  allocate(bytes: number, purpose: string): number {
    const size = align(Math.max(bytes, 1));
    const pointer = this.#takeFree(size) ?? this.#takeAny(size, purpose);
    this.#used.set(pointer, size);
    this.#usedBytes += size;
    return pointer;
  }

  free(pointer: number): void {
    const bytes = this.#used.get(pointer);
    if (bytes === undefined) throw new Error(`heap: ${pointer} is not an allocated block`);
    this.#used.delete(pointer);
    this.#usedBytes -= bytes;
    this.#insertFree({ pointer, bytes });
  }

  #takeFree(size: number): number | undefined {
    const index = this.#free.findIndex((block) => block.bytes >= size);
    if (index < 0) return undefined;
    const block = this.#free[index];
    const pointer = block.pointer;
    if (block.bytes === size) this.#free.splice(index, 1);
    else this.#free[index] = { pointer: pointer + size, bytes: block.bytes - size };
    return pointer;
  }

  /** From the top; where that is exhausted, from what caches give back. */
  #takeAny(size: number, purpose: string): number {
    for (;;) {
      try {
        return this.#takeFree(size) ?? this.#takeTop(size, purpose);
      } catch (error) {
        if (!(error instanceof MemoryError) || !this.#reclaim()) throw error;
      }
    }
  }

  #reclaim(): boolean {
    for (const giveBack of this.#reserves) if (giveBack()) return true;
    return false;
  }

  #takeTop(size: number, purpose: string): number {
    const pointer = this.#top;
    const end = pointer + size;
    if (end > this.limit) this.#exhausted(size, purpose);
    const missing = end - this.memory.buffer.byteLength;
    if (missing > 0) {
      try {
        this.memory.grow(Math.ceil(missing / PAGE));
      } catch {
        this.#refuse(size, purpose);
      }
    }
    this.#top = end;
    return pointer;
  }

  #exhausted(bytes: number, purpose: string): never {
    throw new MemoryError({
      what: 'not enough memory',
      where: purpose,
      expected: `at most ${this.limit} bytes in all, of which ${this.#usedBytes} are in use`,
      got: `${bytes} bytes more`,
    });
  }

  #refuse(size: number, purpose: string): never {
    throw new MemoryError({
      what: 'the host refused to grow the memory',
      where: purpose,
      expected: `${size} bytes more than the ${this.memory.buffer.byteLength} held (limit ${this.limit})`,
      got: 'no memory',
    });
  }

  /** Keeps the free list sorted by address and merges neighbours. */
  #insertFree(block: Block): void {
    const free = this.#free;
    let at = free.findIndex((other) => other.pointer > block.pointer);
    if (at < 0) at = free.length;
    free.splice(at, 0, block);
    const next = free[at + 1];
    if (next && block.pointer + block.bytes === next.pointer) {
      block.bytes += next.bytes;
      free.splice(at + 1, 1);
    }
    const previous = free[at - 1];
    if (previous && previous.pointer + previous.bytes === block.pointer) {
      previous.bytes += block.bytes;
      free.splice(at, 1);
    }
    const last = free[free.length - 1];
    if (last && last.pointer + last.bytes === this.#top) {
      this.#top = last.pointer;
      free.pop();
    }
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
