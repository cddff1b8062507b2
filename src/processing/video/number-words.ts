/** Numbers in English words, as the Python package num2words writes them: "one hundred and one". */
import { InputError } from '../../errors.js';

const SMALL = (
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen ' +
  'eighteen nineteen'
).split(' ');
const TENS = ' ten twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');
const SCALES: [number, string][] = [
  [1e9, 'billion'],
  [1e6, 'million'],
  [1e3, 'thousand'],
];

/** For integers from 0 below 10¹². Throws InputError for anything else. */
export function numberWords(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value >= 1e12) {
    throw new InputError({
      what: 'number without words',
      where: 'value',
      expected: 'an integer from 0 below 10^12',
      got: String(value),
    });
  }
  for (const [scale, name] of SCALES) {
    if (value < scale) continue;
    const head = `${numberWords(Math.floor(value / scale))} ${name}`;
    const rest = value % scale;
    if (rest === 0) return head;
    return `${head}${rest < 100 ? ' and' : ','} ${numberWords(rest)}`;
  }
  if (value >= 100) {
    const head = `${SMALL[Math.floor(value / 100)]} hundred`;
    return value % 100 === 0 ? head : `${head} and ${numberWords(value % 100)}`;
  }
  if (value < 20) return SMALL[value];
  const tens = TENS[Math.floor(value / 10)];
  return value % 10 === 0 ? tens : `${tens}-${SMALL[value % 10]}`;
}
