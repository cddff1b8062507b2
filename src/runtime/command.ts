/**
 * Kernel calls as threads pass them on: slots of int32 words in a ring of shared memory. The caller's thread writes a
 * slot; every thread that computes takes parts of it. Calls are numbered from 0 (modulo 2^32).
 */
import { type KernelCall, partCount } from './call.js';

const SLOT_WORDS = 80;
/** Slots of the ring; a power of two. */
export const SLOTS = 2048;

// Words of a slot.
const KERNEL = 0;
const ARGUMENTS = 1;
const AXES = 2;
const PARTS = 3;
/** Parts that nobody has taken, under the call's tag. */
const UNTAKEN = 4;
/** Parts that are not done. */
const UNDONE = 5;
const SCRATCH_ARGUMENT = 6;
const SCRATCH_BYTES = 7;
const FIRST_AXIS = 8;
// Words of an axis.
const AXIS_WORDS = 10;
const SIZE = 0;
const UNITS = 1;
const STEP = 2;
const MOVES = 3;
const FIRST_MOVE = 4;
const MOST_AXES = 3;
const MOST_MOVES = (AXIS_WORDS - FIRST_MOVE) / 2;
/** From here on two words each: float64 holds integers, float32 and float64 arguments alike. */
const FIRST_ARGUMENT = FIRST_AXIS + MOST_AXES * AXIS_WORDS;
const MOST_ARGUMENTS = (SLOT_WORDS - FIRST_ARGUMENT) / 2;

const PART_BITS = 18;
const MOST_PARTS = (1 << PART_BITS) - 1;

/** The ring as the two kinds of words that are in it. */
export interface Ring {
  readonly i32: Int32Array;
  readonly f64: Float64Array;
}

export function ringBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * SLOTS * SLOT_WORDS);
}

export function ringViews(buffer: SharedArrayBuffer): Ring {
  return { i32: new Int32Array(buffer), f64: new Float64Array(buffer) };
}

function slotOf(number: number): number {
  return (number & (SLOTS - 1)) * SLOT_WORDS;
}

/**
 * Above the parts that nobody has taken: the round in which the call's slot was written. A thread that stopped for a while
 * before it took a part does not take one of the call that the slot holds by then.
 */
function tagOf(number: number): number {
  return Math.floor((number >>> 0) / SLOTS) << PART_BITS;
}

/** Writes a call to its slot, which must be free. @param kernel the kernel's number */
export function writeCall({ i32, f64 }: Ring, number: number, call: KernelCall, kernel: number): void {
  const { args, axes = [], scratch } = call;
  const at = slotOf(number);
  const parts = partCount(call);
  if (args.length > MOST_ARGUMENTS || axes.length > MOST_AXES || parts > MOST_PARTS)
    throw new Error(`${call.kernel}: too large for a slot`);
  i32[at + KERNEL] = kernel;
  i32[at + ARGUMENTS] = args.length;
  i32[at + AXES] = axes.length;
  i32[at + PARTS] = parts;
  i32[at + UNDONE] = parts;
  i32[at + SCRATCH_ARGUMENT] = scratch ? scratch.arg : -1;
  i32[at + SCRATCH_BYTES] = scratch ? scratch.bytes : 0;
  const first = (at + FIRST_ARGUMENT) / 2;
  for (let i = 0; i < args.length; i++) f64[first + i] = args[i];
  let to = at + FIRST_AXIS;
  for (const { size, units, step, moves } of axes) {
    if (moves.length > 2 * MOST_MOVES) throw new Error(`${call.kernel}: too many moves for a slot`);
    i32[to + SIZE] = size;
    i32[to + UNITS] = units;
    i32[to + STEP] = step;
    i32[to + MOVES] = moves.length;
    for (let i = 0; i < moves.length; i++) i32[to + FIRST_MOVE + i] = moves[i];
    to += AXIS_WORDS;
  }
  // Last: until now nobody finds anything to take here.
  Atomics.store(i32, at + UNTAKEN, tagOf(number) | parts);
}

/** Takes a part that nobody has taken. @returns its number; −1: there is none */
export function takePart(ring: Ring, number: number): number {
  const untaken = take(ring, number, false);
  return untaken === 0 ? -1 : ring.i32[slotOf(number) + PARTS] - untaken;
}

/** Takes all parts that nobody has taken. @returns how many there are */
export function takeRest(ring: Ring, number: number): number {
  return take(ring, number, true);
}

/** @returns how many parts nobody had taken before */
function take({ i32 }: Ring, number: number, all: boolean): number {
  const at = slotOf(number) + UNTAKEN;
  const tag = tagOf(number);
  for (;;) {
    const seen = Atomics.load(i32, at);
    const untaken = (seen - tag) | 0;
    // Of another round, if it is out of range.
    if (untaken <= 0 || untaken > MOST_PARTS) return 0;
    const left = all ? tag : seen - 1;
    if (Atomics.compareExchange(i32, at, seen, left) === seen) return untaken;
  }
}

/** So many of the parts that were taken are done. @returns whether the whole call is */
export function putDone({ i32 }: Ring, number: number, parts: number): boolean {
  return Atomics.sub(i32, slotOf(number) + UNDONE, parts) === parts;
}

export function kernelOf({ i32 }: Ring, number: number): number {
  return i32[slotOf(number) + KERNEL];
}

/** The arguments of one part of a call, for one of the threads, into `into` (call.ts says how). */
export function readPart(
  { i32, f64 }: Ring,
  number: number,
  part: number,
  thread: number,
  into: number[],
): void {
  const at = slotOf(number);
  const count = i32[at + ARGUMENTS];
  const first = (at + FIRST_ARGUMENT) / 2;
  into.length = count;
  for (let i = 0; i < count; i++) into[i] = f64[first + i];
  let axis = at + FIRST_AXIS;
  for (let n = i32[at + AXES]; n > 0; n--, axis += AXIS_WORDS) {
    const step = i32[axis + STEP];
    const parts = Math.ceil(i32[axis + UNITS] / step);
    const unit = (part % parts) * step;
    part = Math.floor(part / parts);
    if (i32[axis + SIZE] >= 0) into[i32[axis + SIZE]] = Math.min(step, i32[axis + UNITS] - unit);
    const end = axis + FIRST_MOVE + i32[axis + MOVES];
    for (let move = axis + FIRST_MOVE; move < end; move += 2) into[i32[move]] += unit * i32[move + 1];
  }
  const scratch = i32[at + SCRATCH_ARGUMENT];
  if (scratch >= 0) into[scratch] += thread * i32[at + SCRATCH_BYTES];
}
