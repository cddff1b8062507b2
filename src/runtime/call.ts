import type { Kernels } from './kernels.js';

/** A call of one kernel on whole tensors, and the ways in which it may be split into parts. */
export interface KernelCall {
  readonly kernel: keyof Kernels;
  readonly args: readonly number[];
  /** Ways to split the call; parts along the first one follow each other. None of them runs along a reduction. */
  readonly axes?: readonly Axis[];
  /** An argument that points to scratch: each thread has `bytes` of its own from there. */
  readonly scratch?: { readonly arg: number; readonly bytes: number };
}

export interface Axis {
  /** The argument that says how many units a part covers; −1: a part is one unit, and the kernel takes no such argument. */
  readonly size: number;
  readonly units: number;
  /** Units of one part. */
  readonly step: number;
  /** Arguments that move with the first unit of a part, each with its distance from unit to unit: [arg, distance, …]. */
  readonly moves: readonly number[];
}

/** Parts of a call. */
export function partCount({ axes }: KernelCall): number {
  let count = 1;
  if (axes) for (let i = 0; i < axes.length; i++) count *= Math.ceil(axes[i].units / axes[i].step);
  return count;
}

/** The arguments of one part, into `into`. */
export function partArguments({ args, axes = [] }: KernelCall, part: number, into: number[]): void {
  into.length = args.length;
  for (let i = 0; i < args.length; i++) into[i] = args[i];
  for (const { size, units, step, moves } of axes) {
    const parts = Math.ceil(units / step);
    const first = (part % parts) * step;
    part = Math.floor(part / parts);
    if (size >= 0) into[size] = Math.min(step, units - first);
    for (let i = 0; i < moves.length; i += 2) into[moves[i]] += first * moves[i + 1];
  }
}
