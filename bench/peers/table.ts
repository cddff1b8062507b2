import type { Results, Row } from './results.js';
import { WORKS } from './works.js';

/** The figure as people write it. */
export function figure({ value, unit }: Pick<Row, 'value' | 'unit'>): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

/** How many times as fast as another, whichever way the unit points. */
export const ratio = (row: Row, other: Row) => other.seconds / row.seconds;

/** The rows of a work, fastest first. */
export function ranked({ rows }: Results, work: string): Row[] {
  return rows.filter((row) => row.work === work).sort((a, b) => a.seconds - b.seconds);
}

/** Below it neighbours took too much for the figure to count. */
const QUIET = 0.9;

/** A warning where a row was disturbed; with several threads waiting is part of the work. */
export function disturbance({ share, title }: Row): string {
  if (share === undefined || share >= QUIET || !/, 1 thread/.test(title)) return '';
  return `, DISTURBED: had ${(100 * share).toFixed(0)} % of a core`;
}

export function printResults(results: Results): void {
  const { multiplyAdd, loadSum } = results.ceilings;
  console.log(
    `\nceilings of WebAssembly SIMD here, one thread: ${multiplyAdd.toFixed(1)} GFLOP/s, ${loadSum.toFixed(1)} GB/s`,
  );
  for (const work of WORKS) {
    const rows = ranked(results, work.id);
    if (rows.length === 0) continue;
    console.log(`\n${work.title}`);
    for (const row of rows) {
      const [low, high] = row.quartiles.map((value) => value.toPrecision(3));
      console.log(
        `  ${row.title.padEnd(56)} ${figure(row).padStart(15)}  (${row.runs} runs, middle half ${low} … ${high}${disturbance(row)})`,
      );
    }
  }
  console.log(
    '\nprocess                                                    works    load, s   peak, MB   Node, version',
  );
  for (const { title, group, loadSeconds, peakBytes, node, version } of results.processes) {
    const peak = peakBytes === null ? '–' : (peakBytes / 1e6).toFixed(0);
    console.log(
      `  ${title.padEnd(56)} ${group.padEnd(8)} ${loadSeconds.toFixed(2).padStart(7)} ${peak.padStart(10)}   ${node} ${version}`,
    );
  }
  for (const [title, nmse] of Object.entries(results.agreement)) {
    console.log(`states of the tile against ours in float32: NMSE ${nmse.toExponential(1)}  ${title}`);
  }
  for (const { title, group, unsupported, failed } of results.gaps) {
    console.log(`not measured: ${group}: ${title}: ${unsupported ?? `FAILED: ${failed}`}`);
  }
}
