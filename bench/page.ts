/** The figures as bars: one self-contained page without scripts, for light and dark. */
import { amount, duration, type Row, ratio } from './report.js';
import { wantsMore } from './speedup.js';

const BAR_WIDTH = 320;

/** @param facts what the page says of machine and run */
export function pageOf(facts: Readonly<Record<string, string>>, rows: readonly Row[]): string {
  const sections = groups(rows, ({ part }) => part).map(([part, list]) => section(part, list));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smolvlm-wasm: figures of ${escaped(facts.date)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>smolvlm-wasm: figures</h1>
<p>${Object.values(facts).map(escaped).join(' · ')}</p>
<p>The line in each bar is what the figure is measured against, taken in the same run. <span class="key more">Blue</span>: a
rate, the further the better. <span class="key less">Orange</span>: a time or a size, the shorter the better.</p>
${sections.join('\n')}
</body>
</html>
`;
}

function section(part: string, rows: readonly Row[]): string {
  const tables = groups(rows, ({ configuration = '' }) => configuration).map(
    ([configuration, list]) =>
      `<tbody>${configuration && `<tr><th colspan="4" scope="rowgroup">${escaped(configuration)}</th></tr>`}
${list.map(line).join('\n')}</tbody>`,
  );
  return `<section><h2>${escaped(part)}</h2><div class="scroll"><table>${tables.join('\n')}</table></div></section>`;
}

function line(row: Row): string {
  const { work, seconds, value, unit, against, note = '' } = row;
  const figures = value === undefined ? [] : [amount(value, unit)];
  if (seconds !== undefined && unit !== 's') figures.unshift(duration(seconds));
  const share = ratio(row);
  const of = share === undefined ? '' : `${share.toFixed(2)} of ${against!.name}`;
  return `<tr><td>${escaped(work)}</td><td class="n">${escaped(figures.join(', '))}</td>
<td>${share === undefined ? '' : bar(share, wantsMore(row))}</td><td class="note">${escaped([of, note].filter(Boolean).join('; '))}</td></tr>`;
}

/** A bar of length `share`; the mark stands at 1. */
function bar(share: number, more: boolean): string {
  const scale = BAR_WIDTH / Math.max(1.25, share);
  const length = Math.max(1, share * scale).toFixed(1);
  const mark = scale.toFixed(1);
  const label = `${share.toFixed(2)} of 1`;
  return `<svg width="${BAR_WIDTH}" height="16" role="img" aria-label="${label}"><rect class="track" width="${BAR_WIDTH}" height="16" rx="2"/>
<rect class="${more ? 'more' : 'less'}" width="${length}" height="16" rx="2"/><line class="mark" x1="${mark}" x2="${mark}" y1="0" y2="16"/></svg>`;
}

function groups(rows: readonly Row[], key: (row: Row) => string): [string, Row[]][] {
  const found = new Map<string, Row[]>();
  for (const row of rows) found.set(key(row), [...(found.get(key(row)) ?? []), row]);
  return [...found];
}

function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => names[character]);
}

const STYLE = `
:root { color-scheme: light dark; --text: #1d2530; --soft: #5b6675; --line: #d8dee6; --track: #eef1f5; --back: #fff;
  --more: #2f6fbf; --less: #c2702a; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e9f0; --soft: #9aa6b5; --line: #323b47; --track: #232a33;
  --back: #14181d; --more: #5b9bea; --less: #e0954f; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; }
h2 { margin: 2.2rem 0 .4rem; text-transform: capitalize; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; padding: .9rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
td { padding: .18rem .9rem .18rem 0; vertical-align: middle; }
td.n { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; }
td.note { color: var(--soft); font-size: 13px; min-width: 16rem; }
svg { display: block; }
.track { fill: var(--track); } rect.more { fill: var(--more); } rect.less { fill: var(--less); }
.mark { stroke: var(--text); stroke-width: 2; }
.key { font-weight: 600; } .key.more { color: var(--more); } .key.less { color: var(--less); }
`;
