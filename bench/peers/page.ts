/** The results as one page of bars: HTML and SVG-free CSS, no scripts, nothing from elsewhere, for light and dark. */
import type { ProcessRow, Results } from './results.js';
import { disturbance, figure, ranked } from './table.js';
import { WORKS } from './works.js';

interface Bar {
  readonly title: string;
  readonly engine: string;
  /** 0 … 1. */
  readonly length: number;
  readonly label: string;
  /** Shown when pointed at. */
  readonly hint: string;
}

const GROUP_TITLES: Readonly<Record<string, string>> = {
  matmul: 'MatMul',
  tile: 'one tile',
  text: 'SmolLM2-135M, all works above',
  picture: '256M, picture to first token',
};

export function pageOf(results: Results): string {
  const { multiplyAdd, loadSum } = results.ceilings;
  const versions = [...new Set(results.processes.map(({ version }) => version))];
  const nodes = [...new Set(results.processes.map(({ node }) => node))];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smolvlm-wasm and its peers</title>
<style>${STYLE}</style>
<main>
<h1>smolvlm-wasm and its peers</h1>
<p>Medians of one run, every configuration in processes of its own, taking turns. Ceilings of WebAssembly SIMD on this machine, one
thread: ${multiplyAdd.toFixed(1)} GFLOP/s of products and sums, ${loadSum.toFixed(1)} GB/s of reading memory. Node ${escaped(nodes.join(', '))}.
${escaped(versions.join(' · '))}.</p>
${WORKS.map(({ id, title }) => section(title, 'longer is faster', speedBars(results, id))).join('\n')}
${Object.entries(GROUP_TITLES)
  .map(([group, title]) =>
    section(`Peak memory: ${title}`, 'shorter is smaller', memoryBars(results.processes, group)),
  )
  .join('\n')}
${gaps(results)}
</main>
</html>
`;
}

function speedBars(results: Results, work: string): Bar[] {
  const rows = ranked(results, work);
  return rows.map((row) => ({
    title: row.title,
    engine: row.engine,
    length: rows[0].seconds / row.seconds,
    label: figure(row),
    hint: `${row.runs} runs, middle half ${row.quartiles.map((value) => value.toPrecision(3)).join(' to ')} ${row.unit}${disturbance(row)}`,
  }));
}

function memoryBars(processes: readonly ProcessRow[], group: string): Bar[] {
  const rows = processes.filter((row) => row.group === group && row.peakBytes !== null);
  const bytes = (row: ProcessRow) => row.peakBytes as number;
  const most = Math.max(...rows.map(bytes));
  return rows
    .sort((a, b) => bytes(a) - bytes(b))
    .map((row) => ({
      title: row.title,
      engine: row.engine,
      length: bytes(row) / most,
      label: `${(bytes(row) / 1e6).toFixed(0)} MB`,
      hint: `ready after ${row.loadSeconds.toFixed(2)} s`,
    }));
}

function section(title: string, reading: string, bars: readonly Bar[]): string {
  if (bars.length === 0) return '';
  const lines = bars.map(
    ({ title, engine, length, label, hint }) =>
      `<tr title="${escaped(hint)}"${engine === 'smolvlm-wasm' ? ' class="ours"' : ''}><th>${escaped(title)}</th>` +
      `<td><i style="width:${(length * 100).toFixed(1)}%"></i></td><td>${escaped(label)}</td></tr>`,
  );
  return `<section><h2>${escaped(title)} <small>${reading}</small></h2><table>${lines.join('\n')}</table></section>`;
}

function gaps({ gaps }: Results): string {
  if (gaps.length === 0) return '';
  const lines = gaps.map(
    ({ title, group, unsupported, failed }) =>
      `<li>${escaped(`${GROUP_TITLES[group]}: ${title}: ${unsupported ?? `failed: ${failed?.split('\n')[0]}`}`)}</li>`,
  );
  return `<section><h2>Not measured</h2><ul>${lines.join('\n')}</ul></section>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replace(/[&<>"]/g, (char) => ESCAPES[char]);

const STYLE = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2024; --faint: #60646c; --theirs: #b9bbc6; --ours: #0d74ce; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #111113; --ink: #edeef0; --faint: #b0b4ba; --theirs: #5a6169; --ours: #70b8ff; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p, small, li { color: var(--faint); } small { font-weight: normal; font-size: .85rem; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th { width: 21rem; text-align: left; font-weight: normal; padding: .1rem .75rem .1rem 0; }
td:last-child { width: 8rem; padding-left: .75rem; text-align: right; font-variant-numeric: tabular-nums; }
i { display: block; height: .9rem; min-width: 1px; border-radius: 2px; background: var(--theirs); }
.ours { font-weight: 600; } .ours th { font-weight: 600; } .ours i { background: var(--ours); }
@media (max-width: 40rem) { th { width: 11rem; } td:last-child { width: 6rem; } }
`;
