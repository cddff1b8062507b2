import { unflatten } from './compare.js';
import { type ParityReport, summarize } from './parity.js';
import { closing, RELAXED, ratioText, shapeText, small, verdictText } from './table.js';
import { exceedsStrict, type TensorVerdict } from './verdict.js';

/** A report as one self-contained page, without scripts. */
export function parityHtml(report: ParityReport, checkpoint: string, strict: boolean): string {
  const { holds } = summarize(report, strict);
  const title = `Parity: ${holds ? 'holds' : 'fails'}`;
  const facts: [string, string][] = [
    ['Checkpoint', checkpoint],
    ['Golden', report.golden],
    ['Reference', reference(report)],
    [
      'Bound',
      `NMSE ≤ ${report.bound.toExponential()}${strict ? ', and at most 2 × PyTorch’s own error (strict)' : ''}`,
    ],
    ['Logits with and without taps', report.sameBits ? 'the same bits' : 'not the same bits'],
    ['Kernels', `${report.relaxed ? RELAXED : 'without relaxed SIMD'}; threads: ${report.threads}`],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1><span class="badge ${holds ? 'ok' : 'fail'}">${holds ? 'holds' : 'fails'}</span> Parity with the reference</h1>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(value)}</dd>`).join('\n')}</dl>
${closing(report, strict)
  .map((line) => `<p class="line">${escapeHtml(line)}</p>`)
  .join('\n')}
<div class="scroll">
<table>
<thead><tr><th>tensor</th><th>shape</th><th class="n">max-abs</th><th class="n">NMSE f64</th><th class="n">NMSE f32</th>
<th class="n">PyTorch’s max-abs</th><th class="n">PyTorch’s NMSE</th><th class="n">ratio</th><th>verdict</th></tr></thead>
<tbody>
${report.tensors.map((verdict) => tableRow(verdict, strict)).join('\n')}
</tbody>
</table>
</div>
<footer><p><b>NMSE</b> is Σ(a−b)²/Σb², against the float64 run of the reference (f64) and its own run (f32). <b>PyTorch’s</b> columns
are the reference’s own run against float64. <b>Ratio</b> is our max-abs against float64 over PyTorch’s (at least 2⁻²³·max|f64|).
Rows of the text with attention_mask 0 are not compared.</p></footer>
</body>
</html>
`;
}

function reference({ metadata, dtype }: ParityReport): string {
  const versions = ['transformers', 'torch'].map((name) => `${name} ${metadata[name] ?? '?'}`);
  return [...versions, dtype, `${metadata.attn ?? '?'} attention`].join(', ');
}

function tableRow(verdict: TensorVerdict, strict: boolean): string {
  const { name, shape, float64, reference, torch, ratio, detail } = verdict;
  const main = float64 ?? reference;
  const over = exceedsStrict(verdict);
  const fails = !verdict.holds || (strict && over);
  const worst =
    main && main.worst >= 0
      ? `worst at [${unflatten(main.worst, shape).join(', ')}]: ours ${main.ours}, reference ${main.reference}`
      : '';
  const number = (text: string, extra = '') => `<td class="n${extra}">${text}</td>`;
  const note = detail ? `<div class="detail">${escapeHtml(detail)}</div>` : '';
  return [
    `<tr class="${fails ? 'fail' : 'ok'}"><td class="name">${escapeHtml(name)}${note}</td>`,
    `<td class="shape">${shapeText(shape)}</td>`,
    `<td class="n" title="${escapeHtml(worst)}">${small(main?.maxAbs)}</td>`,
    number(small(float64?.nmse)),
    number(small(reference?.nmse)),
    number(small(torch?.maxAbs)),
    number(small(torch?.nmse)),
    number(ratioText(ratio), over ? ' over' : ''),
    `<td class="verdict">${escapeHtml(verdictText(verdict, strict))}</td></tr>`,
  ].join('');
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character]);
}

const STYLE = `
:root { color-scheme: light dark; --fg: #1c2024; --dim: #60646c; --line: #e0e1e6; --bg: #fff; --head: #f6f6f8;
  --ok: #18794e; --fail: #ce2c31; --failbg: #fff0f0; --warn: #ab6400; }
@media (prefers-color-scheme: dark) { :root { --fg: #edeef0; --dim: #a0a3aa; --line: #33363c; --bg: #111214; --head: #1b1d20;
  --ok: #3dd68c; --fail: #ff9592; --failbg: #33191b; --warn: #ffca16; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); margin: 2rem auto; max-width: 88rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; display: flex; gap: .7rem; align-items: center; }
.badge { font-size: .9rem; padding: .1rem .7rem; border-radius: 1rem; color: var(--bg); background: var(--ok); }
.badge.fail { background: var(--fail); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.line { margin: .2rem 0; overflow-wrap: anywhere; } .line:last-of-type { margin-bottom: 1.2rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th, td { text-align: left; padding: .22rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th { background: var(--head); position: sticky; top: 0; font-weight: 600; }
td.name, td.shape, td.n { font-family: ui-monospace, monospace; font-variant-numeric: tabular-nums; }
td.shape { color: var(--dim); } .n { text-align: right; }
td.verdict { white-space: normal; min-width: 6.5em; }
tr.ok .verdict { color: var(--ok); } tr.fail { background: var(--failbg); } tr.fail .verdict { color: var(--fail); font-weight: 600; }
td.over { color: var(--warn); font-weight: 600; }
.detail { color: var(--fail); font-family: system-ui, sans-serif; white-space: normal; }
footer { color: var(--dim); font-size: 12.5px; margin-top: 1rem; }
`;
