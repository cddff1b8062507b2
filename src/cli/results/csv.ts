/** CSV as RFC 4180 has it: a header, CRLF, quotes around what holds commas, quotes or line breaks. */
import { InputError } from '../../errors.js';
import type { ResultEntry, ResultFormat, ResultRecord } from './record.js';

type Cell = string | number | undefined;

/** The columns, and what a record has in each. */
const COLUMNS: readonly (readonly [name: string, of: (record: ResultRecord) => Cell])[] = [
  ['path', ({ path }) => path],
  ['text', ({ text }) => text],
  ['finish_reason', ({ finish_reason }) => finish_reason],
  ['prompt_tokens', ({ usage }) => usage?.prompt_tokens],
  ['cached_tokens', ({ usage }) => usage?.cached_tokens],
  ['completion_tokens', ({ usage }) => usage?.completion_tokens],
  ['total_tokens', ({ usage }) => usage?.total_tokens],
  ['tiles', ({ usage }) => usage?.tiles],
  ['tiles_encoded', ({ usage }) => usage?.tiles_encoded],
  ['processing_ms', ({ timings }) => timings?.processing_ms],
  ['first_token_ms', ({ timings }) => timings?.first_token_ms],
  ['total_ms', ({ timings }) => timings?.total_ms],
  ['tokens_per_second', ({ timings }) => timings?.tokens_per_second],
  ['model', ({ model }) => model],
  ['prompt', ({ prompt }) => prompt],
  ['system', ({ system }) => system],
  ['error', ({ error }) => error],
];

const NAMES = COLUMNS.map(([name]) => name);

export const csv: ResultFormat = {
  name: 'csv',
  head: `${NAMES.join(',')}\r\n`,
  write: (record) => `${COLUMNS.map(([, of]) => quote(of(record))).join(',')}\r\n`,
  read(text, where) {
    // A header that was not written to its end is as good as none.
    if (csv.head.startsWith(text)) return { entries: [], whole: text === csv.head ? text.length : 0 };
    const entries: ResultEntry[] = [];
    let whole = 0;
    for (const { cells, end, line } of rows(text)) {
      // Spreadsheets put a byte-order mark before all.
      if (line === 1) cells[0] = cells[0].replace(/^\ufeff/, '');
      if (line === 1 ? cells.join() !== NAMES.join() : cells.length !== NAMES.length) {
        throw new InputError({
          what: 'no file of results, which are added to',
          where: `${where}, line ${line}`,
          expected: line === 1 ? `${csv.head.trim()} (or --force to begin anew)` : `${NAMES.length} columns`,
          got: line === 1 ? JSON.stringify(cells.join().slice(0, 40)) : String(cells.length),
        });
      }
      if (line > 1) entries.push({ record: recordOf(cells), source: text.slice(whole, end) });
      whole = end;
    }
    return { entries, whole };
  },
};

/** What of a record is asked for when a file is gone on with. */
function recordOf(cells: readonly string[]): ResultRecord {
  const cell = (name: string) => cells[NAMES.indexOf(name)];
  const record: ResultRecord = { path: cell('path'), model: cell('model'), prompt: cell('prompt') };
  if (cell('system') !== '') record.system = cell('system');
  if (cell('error') !== '') record.error = cell('error');
  else record.text = cell('text');
  return record;
}

function quote(cell: Cell): string {
  const text = cell === undefined ? '' : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows that are whole, each with where it ends and the line on which it begins. LF alone ends one, too. */
function* rows(text: string): Generator<{ cells: string[]; end: number; line: number }> {
  let cells: string[] = [];
  let cell = '';
  let quoted = false;
  let line = 1;
  let begin = 1;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '\n') line++;
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === ',') {
      cells.push(cell);
      cell = '';
    } else if (char === '\n') {
      cells.push(cell);
      yield { cells, end: i + 1, line: begin };
      cells = [];
      cell = '';
      begin = line;
    } else if (char !== '\r' || text[i + 1] !== '\n') cell += char;
  }
}
