import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './paths.js';

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** What the standard input has; nothing by default. */
  input?: string;
  cwd?: string;
  env?: Readonly<Record<string, string | undefined>>;
  /** SIGINT once this is on the standard output. */
  signalAfter?: RegExp;
  /** Looks at the child as it begins, to signal it. */
  onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
  /** Is told the standard output so far, whenever there is more; `close` is what `| head` does. */
  onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void, close: () => void) => void;
}

export const cliPath = join(root, 'build/src/cli/main.js');

/** Runs the unbundled command line without a terminal, as in a pipe. */
export function runCli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  const { input, cwd = root, env, signalAfter, onStart, onOutput } = options;
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--no-warnings', cliPath, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    // A child that ends without having read all is judged by its exit code.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
    const kill = (signal: NodeJS.Signals) => void child.kill(signal);
    onStart?.(kill);
    const result: CliResult = { code: null, signal: null, stdout: '', stderr: '' };
    child.stdout!.on('data', (data) => {
      result.stdout += data;
      if (signalAfter?.test(result.stdout)) kill('SIGINT');
      onOutput?.(result.stdout, kill, () => child.stdout!.destroy());
    });
    child.stderr!.on('data', (data) => {
      result.stderr += data;
    });
    child.on('close', (code, signal) => resolve({ ...result, code, signal }));
  });
}
