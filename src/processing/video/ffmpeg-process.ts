/** Running ffmpeg and ffprobe: found, watched, and ended when they are no longer wanted. */
import { abortError, ConfigError, checkSignal, ImageError } from '../../errors.js';
import { nodeChildProcess } from './node.js';

export interface FfmpegOptions {
  /** Paths of the programs; by default they are looked up on the PATH. */
  ffmpeg?: string;
  ffprobe?: string;
  /** Milliseconds that one run may take; 120 000 by default. */
  timeout_ms?: number;
}

const HOW_TO_GET_IT =
  'ffmpeg and ffprobe on the PATH (apt-get install ffmpeg, brew install ffmpeg, winget install ffmpeg), or the option ' +
  'video_decoder';
const DEFAULT_TIMEOUT = 120_000;
const MAX_ERROR_TEXT = 4000;

/**
 * The program's output, chunk by chunk; it waits where nobody reads. Leaving the loop early, an abort and the timeout kill
 * it. Throws ConfigError where there is no such program, ImageError where it fails, the signal's reason when aborted.
 */
export async function* runProgram(
  program: 'ffmpeg' | 'ffprobe',
  args: readonly string[],
  options: FfmpegOptions,
  where: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  checkSignal(signal);
  const { spawn } = await nodeChildProcess();
  const child = spawn(options[program] ?? program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let failure: Error | undefined;
  let complaint = '';
  const kill = (reason: Error) => {
    failure ??= reason;
    child.kill('SIGKILL');
  };
  const onAbort = () => kill(abortError(signal!));
  signal?.addEventListener('abort', onAbort, { once: true });
  const limit = options.timeout_ms ?? DEFAULT_TIMEOUT;
  const timer = setTimeout(() => {
    const got = `still running after ${limit} ms`;
    kill(new ImageError({ what: `${program} takes too long`, where, expected: `at most ${limit} ms`, got }));
  }, limit);
  const closed = new Promise<number | null>((resolve) => {
    child.on('error', (cause: NodeJS.ErrnoException) => {
      const got = cause.code ?? cause.message;
      failure ??= new ConfigError({
        what: 'no video decoder',
        where: program,
        expected: HOW_TO_GET_IT,
        got,
        cause,
      });
      resolve(null);
    });
    child.on('close', resolve);
  });
  child.stderr.on('data', (data: Uint8Array) => {
    if (complaint.length < MAX_ERROR_TEXT) complaint += new TextDecoder().decode(data);
  });
  let finished = false;
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const code = await closed;
    finished = true;
    if (failure) throw failure;
    if (code !== 0) {
      const got = complaint.trim().split('\n').slice(-2).join('; ') || `exit status ${code}`;
      throw new ImageError({ what: 'video cannot be decoded', where, expected: 'a video file', got });
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    if (!finished) {
      child.kill('SIGKILL');
      await closed;
    }
  }
}

/** The whole output as text. Throws as `runProgram`, and ImageError beyond `maxBytes`. */
export async function programText(
  ...args: [...Parameters<typeof runProgram>, maxBytes: number]
): Promise<string> {
  const [program, list, options, where, signal, maxBytes] = args;
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of runProgram(program, list, options, where, signal)) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxBytes) {
      throw new ImageError({
        what: `${program} says too much`,
        where,
        expected: `at most ${maxBytes} bytes`,
        got: `${text.length}`,
      });
    }
  }
  return text;
}
