/**
 * Checks FEATURES.md against what ran: no empty cell, and every test that a row names ran, passed and made an assertion.
 * A test is named `file: title`, the file as below test/ without its ending; a title may be cut with `…`.
 */
import { readFileSync } from 'node:fs';

/** @returns what is wrong, a line each, and how many rows were checked */
export function checkFeatures(path, records) {
  const problems = [];
  let rows = 0;
  const lines = readFileSync(path, 'utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    if (!line.startsWith('|') || /^\|[\s:|-]+\|$/.test(line) || lines[index + 1]?.match(/^\|[\s:|-]+\|$/))
      continue;
    rows++;
    const cells = line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
    const where = `FEATURES.md:${index + 1}`;
    if (cells.some((cell) => cell === '')) problems.push(`${where}: an empty cell`);
    const tests = Array.from(cells.at(-1).matchAll(/`([^`]+)`/g), ([, name]) => name.replaceAll('\\|', '|'));
    if (tests.length === 0) problems.push(`${where}: no test is named`);
    for (const name of tests) problems.push(...checkTest(name, records).map((text) => `${where}: ${text}`));
  }
  return { problems, rows };
}

function checkTest(name, records) {
  const [, file, title] = name.match(/^(\S+): (.*)$/s) ?? [];
  if (!file) return [`'${name}' is no 'file: title'`];
  const fits = (record) =>
    record.file === `${file}.test` &&
    (title.endsWith('…') ? record.title.startsWith(title.slice(0, -1)) : record.title === title);
  const found = records.filter(fits);
  if (found.length === 0) return [`did not run or did not pass: ${name}`];
  return found.every(({ assertions }) => assertions > 0) ? [] : [`made no assertion: ${name}`];
}
