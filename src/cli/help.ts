/** The help of a command as data, laid out for the width of the terminal. */
import { type Paint, paintFor } from './colors.js';
import { columnsOf } from './terminal.js';
import { stringWidth, wrap } from './text-width.js';

/** [what is typed, what it means]. */
export type HelpRow = readonly [typed: string, meaning: string];

export interface HelpPage {
  usage: readonly string[];
  /** Paragraphs. */
  about: readonly string[];
  sections: readonly { title: string; rows: readonly HelpRow[] }[];
  /** Paragraphs after the sections. */
  notes?: readonly string[];
  examples: readonly string[];
}

/** Where the meanings begin, unless what is typed is longer. */
const COLUMN = 22;

export function renderHelp(page: HelpPage, columns: number, paint: Paint): string {
  const title = (text: string) => paint('bold', text);
  const lines: string[] = [title('Usage:')];
  for (const usage of page.usage) lines.push(`  ${wrap(usage, columns - 2, 6).replaceAll('\n', '\n  ')}`);
  for (const text of page.about) lines.push('', wrap(text, columns));
  for (const section of page.sections) {
    lines.push('', title(`${section.title}:`));
    for (const row of section.rows) lines.push(...renderRow(row, columns, paint));
  }
  for (const text of page.notes ?? []) lines.push('', wrap(text, columns));
  // Examples are for copying: they are not broken.
  lines.push('', title(page.examples.length === 1 ? 'Example:' : 'Examples:'));
  for (const example of page.examples) lines.push(`  ${example}`);
  return `${lines.join('\n')}\n`;
}

export function printHelp(page: HelpPage): number {
  const { stdout } = process;
  stdout.write(renderHelp(page, columnsOf(stdout), paintFor(stdout)));
  return 0;
}

/** On narrow terminals the meaning comes below. */
function renderRow([typed, meaning]: HelpRow, columns: number, paint: Paint): string[] {
  if (columns < 60)
    return [`  ${paint('cyan', wrap(typed, columns, 2))}`, `      ${wrap(meaning, columns, 6)}`];
  const head = `  ${paint('cyan', typed)}`;
  const text = wrap(meaning, columns, COLUMN + 2);
  const space = COLUMN - stringWidth(typed);
  if (space < 2) return [head, `${' '.repeat(COLUMN + 2)}${text}`];
  return [`${head}${' '.repeat(space)}${text}`];
}
