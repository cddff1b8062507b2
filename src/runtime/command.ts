/**
 * Kernel calls as threads pass them on: slots of int32 words in a ring of shared memory. The caller's thread writes a
 * slot, each worker reads it and takes parts of it.
 */
import { type KernelCall, partCount } from './call.js';

export const SLOT_WORDS = 80;
/** Slots of the ring; a power of two. */
export const SLOTS = 2048;

/** In place of a kernel's number: no call; the first worker says that everything before it is done. */
export const FENCE = -1;

// Words of a slot.
const KERNEL = 0;
const ARGUMENTS = 1;
const AXES = 2;
const PARTS = 3;
/** The next part that nobody has taken. */
export const NEXT_PART = 4;
const SCRATCH_ARGUMENT = 5;
const SCRATCH_BYTES = 6;
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

/** The ring as the two kinds of words that are in it. */
export interface Ring {
  readonly i32: Int32Array;
  readonly f64: Float64Array;
}

export function ringViews(buffer: SharedArrayBuffer): Ring {
  return { i32: new Int32Array(buffer), f64: new Float64Array(buffer) };
}

/** Writes a call to the slot at word `at`. @param kernel the kernel's number */
export function writeCall({ i32, f64 }: Ring, at: number, call: KernelCall, kernel: number): void {
  const { args, axes = [], scratch } = call;
  if (args.length > MOST_ARGUMENTS || axes.length > MOST_AXES)
    throw new Error(`${call.kernel}: too large for a slot`);
  i32[at + KERNEL] = kernel;
  i32[at + ARGUMENTS] = args.length;
  i32[at + AXES] = axes.length;
  i32[at + PARTS] = partCount(call);
  i32[at + NEXT_PART] = 0;
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
}

/** Writes a fence with its number. */
export function writeFence({ i32 }: Ring, at: number, ticket: number): void {
  i32[at + KERNEL] = FENCE;
  i32[at + PARTS] = 1;
  i32[at + FIRST_AXIS] = ticket;
}

export function kernelOf({ i32 }: Ring, at: number): number {
  return i32[at + KERNEL];
}

export function partsOf({ i32 }: Ring, at: number): number {
  return i32[at + PARTS];
}

export function ticketOf({ i32 }: Ring, at: number): number {
  return i32[at + FIRST_AXIS];
}

/** The arguments of one part of the call in a slot, for the thread `worker`, into `into` (call.ts says how). */
export function readPart({ i32, f64 }: Ring, at: number, part: number, worker: number, into: number[]): void {
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
  if (scratch >= 0) into[scratch] += worker * i32[at + SCRATCH_BYTES];
}
