/** Text by the columns that it takes on a terminal: wide characters take two, combining ones none. */
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';

export { stringWidth };

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The text cut to so many columns, an ellipsis in the last one where something was left out. No escape sequences. */
export function truncate(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    const more = stringWidth(segment);
    if (width + more > columns - 1) break;
    kept += segment;
    width += more;
  }
  return columns > 0 ? `${kept}…` : '';
}

/** The same from the left: the end of a path says more than its beginning. */
export function truncateStart(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of [...graphemes.segment(text)].reverse()) {
    const more = stringWidth(segment);
    if (width + more > columns - 1) break;
    kept = segment + kept;
    width += more;
  }
  return columns > 0 ? `…${kept}` : '';
}

/** Lines of at most so many columns, broken between words, the later ones moved in. */
export function wrap(text: string, columns: number, indent = 0): string {
  const lines = wrapAnsi(text, Math.max(columns - indent, 1), { hard: true }).split('\n');
  return lines.join(`\n${' '.repeat(indent)}`);
}

/** Control characters made visible: a file's name or a model's answer may hold any, and none of them may reach the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about.
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (char) => {
    const code = char.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : '�';
  });
}
