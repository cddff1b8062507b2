import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearest } from './suggestion.js';

/** The command line was used wrongly: exit code 2 and a pointer to the help. */
export class UsageError extends Error {}

export type Options = NonNullable<ParseArgsConfig['options']>;

/** Positionals and options of a command. @throws UsageError for an option that is unknown or lacks its value */
export function readArguments<O extends Options>(
  args: string[],
  options: O,
): ReturnType<typeof parseArgs<{ args: string[]; options: O; allowPositionals: true; strict: true }>> {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const said = message.split('\n')[0];
    if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(said);
    const option = /'(-[^'\s]*)'/.exec(message)?.[1] ?? '';
    const near = option.startsWith('--') ? nearest(option.slice(2), Object.keys(options)) : undefined;
    throw new UsageError(`Unknown option '${option}'${near ? `; did you mean --${near}?` : ''}`);
  }
}

/** @throws UsageError unless the text is an integer of at least `least` */
export function readInteger(text: string, option: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${option}: expected an integer of at least ${least}, got '${text}'`);
}

/** @throws UsageError unless the text is a number that `holds` */
export function readNumber(
  text: string,
  option: string,
  expected: string,
  holds: (value: number) => boolean,
): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && holds(value)) return value;
  throw new UsageError(`--${option}: expected ${expected}, got '${text}'`);
}

/** @throws UsageError unless the text is one of the choices */
export function readChoice<C extends string>(text: string, option: string, choices: readonly C[]): C {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  const near = nearest(text, choices);
  const hint = near ? `; did you mean ${near}?` : '';
  throw new UsageError(`--${option}: expected ${choices.join(', ')}, got '${text}'${hint}`);
}

/** @throws UsageError unless the text is a number of threads or `auto` */
export function readThreads(text: string | undefined): number | 'auto' | undefined {
  if (text === undefined || text === 'auto') return text;
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= 1) return value;
  throw new UsageError(`--threads: expected a number of threads or auto, got '${text}'`);
}
