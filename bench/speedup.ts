import { THREADS_AT_ONCE } from './model.js';
import type { Row } from './report.js';

/** Two threads against one, for every work of the whole model that was measured with both. */
export function threadRows(rows: readonly Row[]): Row[] {
  const timed = rows.filter(({ part, seconds }) => part === 'model' && seconds !== undefined);
  return timed.flatMap((row) => {
    const configuration = row.configuration!.replace(', 2 threads', ', 1 thread');
    if (configuration === row.configuration) return [];
    const single = timed.find((other) => other.configuration === configuration && other.work === row.work);
    if (!single) return [];
    // Arithmetic can gain what registers do; a token reads memory.
    const registers = rows.find((other) => {
      return other.configuration === row.configuration && other.work === THREADS_AT_ONCE;
    });
    const isArithmetic = registers?.value !== undefined && row.unit === 'GFLOP/s';
    return {
      part: 'model',
      configuration: `${configuration.replace(', 1 thread', '')}: two threads against one`,
      work: row.work,
      value: single.seconds! / row.seconds!,
      unit: '×',
      against: isArithmetic
        ? { name: 'what registers gain', value: registers.value }
        : { name: 'one thread', value: 1 },
    };
  });
}

/** Whether a ratio is to be as large as it can be (a rate beside its ceiling), or as small (a time, a size, a growth). */
export function wantsMore({ part, unit }: Row): boolean {
  return part !== 'context' && unit !== 's' && unit !== 'ms' && unit !== 'MB';
}
