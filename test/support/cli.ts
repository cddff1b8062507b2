import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './paths.js';

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the unbundled command line without a terminal, as in a pipe. */
export function runCli(args: string[], { signalAfter }: { signalAfter?: RegExp } = {}): Promise<CliResult> {
  return new Promise((resolve) => {
    const cli = join(root, 'build/src/cli/main.js');
    const child = spawn(process.execPath, ['--no-warnings', cli, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const result: CliResult = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (data) => {
      result.stdout += data;
      if (signalAfter?.test(result.stdout)) child.kill('SIGINT');
    });
    child.stderr.on('data', (data) => {
      result.stderr += data;
    });
    child.on('close', (code) => resolve({ ...result, code }));
  });
}
