import { type ParseArgsConfig, parseArgs } from 'node:util';

/** The command line was used wrongly: exit code 2 and a pointer to the help. */
export class UsageError extends Error {}

type Options = NonNullable<ParseArgsConfig['options']>;

/** Positionals and options of a command. @throws UsageError for an option that is unknown or lacks its value */
export function readArguments<O extends Options>(
  args: string[],
  options: O,
): ReturnType<typeof parseArgs<{ args: string[]; options: O; allowPositionals: true; strict: true }>> {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError((error as Error).message.split('\n')[0]);
  }
}

/** @throws UsageError unless the text is an integer of at least `least` */
export function readInteger(text: string, option: string, least: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new UsageError(`--${option}: expected an integer of at least ${least}, got '${text}'`);
}

/** @throws UsageError unless the text is a number of threads or `auto` */
export function readThreads(text: string | undefined): number | 'auto' | undefined {
  if (text === undefined || text === 'auto') return text;
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= 1) return value;
  throw new UsageError(`--threads: expected a number of threads or auto, got '${text}'`);
}
