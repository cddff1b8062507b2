/** One figure with what it is measured against. */
export interface Row {
  /** kernels, layers, model, decode, context, load, memory, processing. */
  readonly part: string;
  readonly work: string;
  /** Size of model and options, where there are any: `256m bfloat16, 1 thread`. */
  readonly configuration?: string;
  /** Seconds of one call; the median of `runs`, which lie `spread` (a share of the median) apart. */
  readonly seconds?: number;
  readonly runs?: number;
  readonly spread?: number;
  readonly value?: number;
  readonly unit?: string;
  /** A ceiling, a peer or an aim, in the same unit. */
  readonly against?: { readonly name: string; readonly value: number };
  /** Further figures in words, or why there are none. */
  readonly note?: string;
}

export type Report = (row: Row) => void;

/** value / against.value. */
export function ratio({ value, against }: Row): number | undefined {
  return value === undefined || against === undefined ? undefined : value / against.value;
}

/** Prints rows as they come, a heading before each part and configuration, and keeps them. */
export class Table {
  readonly rows: Row[] = [];
  #heading = '';

  readonly add: Report = (row) => {
    this.rows.push(row);
    const heading = [row.part, row.configuration].filter(Boolean).join(': ');
    if (heading !== this.#heading) console.log(`\n${heading}`);
    this.#heading = heading;
    console.log(`  ${rowText(row)}`);
  };
}

export function rowText(row: Row): string {
  const { work, seconds, runs, spread, value, unit, against, note } = row;
  const figures = value === undefined ? [] : [amount(value, unit)];
  if (seconds !== undefined && unit !== 's') figures.unshift(duration(seconds));
  const share = ratio(row);
  if (against) figures.push(`= ${share!.toFixed(2)} of ${against.name} (${amount(against.value, unit)})`);
  if (runs && runs > 1) figures.push(`[${runs} runs ± ${(50 * spread!).toFixed(0)} %]`);
  if (note) figures.push(figures.length ? `(${note})` : note);
  return `${work.padEnd(40)} ${figures.join('  ')}`;
}

export function amount(value: number, unit = ''): string {
  const digits = value >= 1000 ? 0 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`.trimEnd();
}

export function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  if (seconds >= 1e-3) return `${(1e3 * seconds).toFixed(seconds >= 0.1 ? 0 : 2)} ms`;
  return `${(1e6 * seconds).toFixed(1)} µs`;
}

/** Rows as plain data, numbers cut to four digits. */
export function plainRows(rows: readonly Row[]): object[] {
  const short = (value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value);
  return rows.map((row) => {
    const { against, ...rest } = row;
    const flat = { ...rest, of: against?.name, ceiling: against?.value, ratio: ratio(row) };
    return Object.fromEntries(Object.entries(flat).map(([key, value]) => [key, short(value)]));
  });
}
