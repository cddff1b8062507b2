import type { Axis } from './call.js';

/** Multiply-adds in one kernel call at most: 3 to 12 ms, so that a run can pause between calls also on a slow processor. */
const STEP_MACS = 8e7;
/** Values of an elementwise step: about a millisecond. */
const STEP_VALUES = 1 << 17;
/** Parts a thread should get of a call that is split, so that none waits long for the last; and what a part is at least. */
const PARTS_PER_THREAD = 4;
/** The same of products: those of one row are over before a part more is worth taking. */
const PRODUCT_PARTS = 8;
const ROW_PARTS = 2;
const LEAST_PART_MACS = 1 << 16;
const LEAST_PART_VALUES = 1 << 12;

/**
 * Rows and panels of one part of a product.
 * @param mostRows rows whose activations stay in the second-level cache while the weights stream by
 * @param panelMacs multiply-adds of one row with one panel
 */
export function productSteps(
  threads: number,
  rows: number,
  mostRows: number,
  panels: number,
  panelMacs: number,
): { rowStep: number; panelStep: number } {
  const rowStep = Math.min(rows, mostRows);
  let panelStep = Math.max(1, Math.floor(STEP_MACS / (rowStep * panelMacs)));
  if (threads > 1) {
    const parts = threads * (rows === 1 ? ROW_PARTS : PRODUCT_PARTS);
    const wanted = Math.ceil(parts / Math.ceil(rows / rowStep));
    const least = Math.ceil(LEAST_PART_MACS / (rowStep * panelMacs));
    panelStep = Math.min(panelStep, Math.max(least, Math.ceil(panels / wanted)));
  }
  return { rowStep, panelStep: Math.min(panels, panelStep) };
}

/** Units of one part where a unit has so many multiply-adds, and threads have no more than a few units. */
export function unitStep(threads: number, units: number, macs: number): number {
  return threads > 1 ? 1 : Math.max(1, Math.min(units, Math.floor(STEP_MACS / macs)));
}

/** An axis of `units` units of `values` values each, split into steps that are neither long nor tiny. */
export function evenAxis(
  threads: number,
  size: number,
  units: number,
  values: number,
  moves: number[],
): Axis {
  let step = Math.max(1, Math.floor(STEP_VALUES / values));
  if (threads > 1) {
    const least = Math.ceil(LEAST_PART_VALUES / values);
    step = Math.min(step, Math.max(least, Math.ceil(units / (PARTS_PER_THREAD * threads))));
  }
  if (values === 1) step = Math.ceil(step / 16) * 16;
  return { size, units, step: Math.min(Math.max(units, 1), step), moves };
}
