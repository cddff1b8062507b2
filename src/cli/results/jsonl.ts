/** JSON Lines: an object a line. */
import { InputError } from '../../errors.js';
import type { ResultEntry, ResultFormat, ResultRecord } from './record.js';

export const jsonl: ResultFormat = {
  name: 'jsonl',
  head: '',
  write: (record) => `${JSON.stringify(record)}\n`,
  read(text, where) {
    const entries: ResultEntry[] = [];
    let whole = 0;
    // A line without its end is one that was being written, also where it happens to be JSON: it is made again.
    for (let line = 1, end = text.indexOf('\n'); end >= 0; line++, end = text.indexOf('\n', whole)) {
      const record = parse(text.slice(whole, end));
      if (record) entries.push({ record, source: text.slice(whole, end + 1) });
      else if (record === undefined) {
        throw new InputError({
          what: 'no file of results, which are added to',
          where: `${where}, line ${line}`,
          expected: 'a JSON object with path, prompt and model (or --force to begin anew)',
          got: JSON.stringify(text.slice(whole, Math.min(end, whole + 40))),
        });
      }
      whole = end + 1;
    }
    return { entries, whole };
  },
};

/** null for an empty line, undefined for one that is no record. */
function parse(line: string): ResultRecord | null | undefined {
  if (line.trim() === '') return null;
  try {
    const value = JSON.parse(line);
    const isRecord = ['path', 'prompt', 'model'].every((key) => typeof value?.[key] === 'string');
    return isRecord ? value : undefined;
  } catch {
    return undefined;
  }
}
