import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemoryError } from '../../src/errors.js';
import { Arena } from '../../src/runtime/arena.js';
import { Heap } from '../../src/runtime/heap.js';

const PAGE = 65536;

function heap(limit = 64 * PAGE, base = 1000): Heap {
  return new Heap(new WebAssembly.Memory({ initial: 1, maximum: 256 }), base, limit);
}

/** A small integer generator: the same sequence at every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
}

test('blocks are 64-byte aligned, lie above the base and never overlap, through 5000 random calls', () => {
  const h = heap();
  const next = random(7);
  const live: { pointer: number; bytes: number }[] = [];
  for (let i = 0; i < 5000; i++) {
    if (live.length > 0 && next(2) === 0) {
      const [block] = live.splice(next(live.length), 1);
      h.free(block.pointer);
      continue;
    }
    const bytes = next(20000);
    if (live.reduce((sum, block) => sum + block.bytes, bytes) > 16 * PAGE) continue;
    const pointer = h.allocate(bytes, 'test');
    assert.is(pointer % 64, 0);
    assert.ok(pointer >= 1000);
    assert.ok(pointer + bytes <= h.memory.buffer.byteLength);
    for (const other of live) {
      const apart = pointer + bytes <= other.pointer || other.pointer + other.bytes <= pointer;
      assert.ok(apart, `${pointer}+${bytes} overlaps ${other.pointer}+${other.bytes}`);
    }
    live.push({ pointer, bytes });
  }
  for (const { pointer } of live) h.free(pointer);
  assert.is(h.used, 0);
});

test('freed neighbours merge: after all is freed, one block of the whole size fits without growing', () => {
  const h = heap();
  const blocks = Array.from({ length: 30 }, () => h.allocate(10000, 'test'));
  const bytes = h.memory.buffer.byteLength;
  for (const i of [1, 3, 0, 2, ...Array.from({ length: 26 }, (_, k) => k + 4)]) h.free(blocks[i]);
  h.allocate(290000, 'test');
  assert.is(h.memory.buffer.byteLength, bytes);
});

test('a block that does not fit is a MemoryError with the numbers, and nothing is taken', () => {
  const h = heap(4 * PAGE);
  h.allocate(PAGE, 'first');
  const used = h.used;
  for (const call of [() => h.allocate(4 * PAGE, 'second'), () => h.check(4 * PAGE, 'second')]) {
    try {
      call();
      assert.unreachable();
    } catch (error) {
      assert.instance(error, MemoryError);
      const { where, expected, got } = error as MemoryError;
      assert.is(where, 'second');
      assert.match(expected!, `at most ${4 * PAGE} bytes in all, of which ${used} are in use`);
      assert.match(got!, `${4 * PAGE} bytes more`);
    }
  }
  assert.is(h.used, used);
  h.allocate(PAGE, 'third');
});

test('a host that refuses to grow gives a MemoryError, not a RangeError', () => {
  const h = new Heap(new WebAssembly.Memory({ initial: 1, maximum: 2 }), 0, 100 * PAGE);
  assert.throws(
    () => h.allocate(10 * PAGE, 'weights'),
    (error: Error) =>
      error instanceof MemoryError && /refused/.test(error.message) && /weights/.test(error.message),
  );
});

test('freeing what was not allocated is refused', () => {
  assert.throws(() => heap().free(64), /not an allocated block/);
});

test('an arena gives scopes back, keeps its chunks, and returns them with trim', () => {
  const h = heap();
  const arena = new Arena(h, 'activations');
  const outer = arena.allocate(100);
  const mark = arena.mark();
  const inner = arena.allocate(2 << 20);
  const held = h.used;
  arena.release(mark);
  assert.is(arena.allocate(2 << 20), inner, 'the same place again');
  assert.is(h.used, held, 'nothing new was taken');
  arena.release(mark);
  arena.trim();
  assert.ok(h.used < held);
  assert.is.not(arena.allocate(64), outer, 'the outer allocation is still held');
  arena.release({ chunk: 0, offset: 0 });
  arena.trim();
  assert.is(h.used, 0);
});

test('before memory runs out, caches are asked to free theirs, in order, until it suffices or they have nothing left', () => {
  const h = heap(16 * PAGE, 64);
  const order: string[] = [];
  const cache = (name: string, count: number) => {
    const blocks = Array.from({ length: count }, () => h.allocate(2 * PAGE, name));
    const forget = h.onShortage(() => {
      const block = blocks.pop();
      if (block === undefined) return false;
      order.push(name);
      h.free(block);
      return true;
    });
    return { blocks, forget };
  };
  cache('first', 2);
  const second = cache('second', 3);
  h.allocate(4 * PAGE, 'needed');
  assert.equal(order, [], 'there was room');
  h.allocate(4 * PAGE, 'needed');
  assert.equal(order, ['first', 'first']);
  h.check(3 * PAGE, 'needed');
  assert.equal(order, ['first', 'first', 'second'], 'a check counts what caches can give back, and takes it');
  second.forget();
  assert.throws(
    () => h.allocate(6 * PAGE, 'needed'),
    (error: Error) => error instanceof MemoryError && /needed.*bytes more/.test(error.message),
  );
  assert.is(second.blocks.length, 2);
});

test.run();
