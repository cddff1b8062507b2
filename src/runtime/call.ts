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

/**
 * An empty array whose numbers make no garbage when it is spread into a call. One that has held nothing but numbers, and
 * among them a fraction (a scale, an epsilon, a pointer that V8 computed as one), is of float64, and each of its elements
 * becomes an object at every use.
 */
export function argumentArray(): number[] {
  const array: unknown[] = [undefined];
  array.length = 0;
  return array as number[];
}

/** The same with the values of `args`. */
export function copyOfArguments(args: readonly number[]): number[] {
  const copy = argumentArray();
  for (const value of args) copy.push(value === (value | 0) ? value | 0 : value);
  return copy;
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
