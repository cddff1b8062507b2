/** Colours: on a terminal only, and as NO_COLOR, FORCE_COLOR and TERM=dumb say. */

type Environment = Readonly<Record<string, string | undefined>>;

/** What a style turns on and off, as Select Graphic Rendition has it. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

export type Style = keyof typeof STYLES;

/** Gives a text a style, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/**
 * Whether a stream takes colours. FORCE_COLOR (0 or false: none; anything else: colours, in a pipe too) goes before
 * NO_COLOR (any value but an empty one), as in Node itself.
 */
export function hasColors(stream: { isTTY?: boolean }, env: Environment = process.env): boolean {
  const { FORCE_COLOR: force, NO_COLOR: none, TERM: term } = env;
  if (force !== undefined) return force !== '0' && force !== 'false';
  if (none !== undefined && none !== '') return false;
  return stream.isTTY === true && term !== 'dumb';
}

export function paintFor(stream: { isTTY?: boolean }, env?: Environment): Paint {
  if (!hasColors(stream, env)) return (_, text) => text;
  return (style, text) => `\x1b[${STYLES[style][0]}m${text}\x1b[${STYLES[style][1]}m`;
}
