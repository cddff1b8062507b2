import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { cliPath } from './cli.js';
import { root } from './paths.js';

const script = join(root, 'test/support/terminal.py');

/** Whether programs can be run in a terminal here: with Python's pty module, which Windows lacks. */
export const hasPty = spawnSync('python3', ['-c', 'import pty, termios']).status === 0;

export interface PtyOptions {
  columns?: number;
  rows?: number;
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** Instead of the command line: a shell's command in which `$SMOLVLM` runs it. */
  shell?: string;
}

/** The command line in a terminal. */
export class Pty {
  readonly #child: ChildProcess;
  readonly #exit: Promise<number | null>;
  #seen = 0;
  #written = '';
  #hasEnded = false;

  constructor(
    args: readonly string[],
    { columns = 100, rows = 30, env, cwd = root, shell }: PtyOptions = {},
  ) {
    const command = shell ? ['sh', '-c', shell] : [process.execPath, '--no-warnings', cliPath, ...args];
    const { NO_COLOR: _, FORCE_COLOR: __, ...inherited } = process.env;
    this.#child = spawn('python3', [script, String(columns), String(rows), ...command], {
      cwd,
      env: {
        ...inherited,
        TERM: 'xterm-256color',
        SMOLVLM: `${process.execPath} --no-warnings ${cliPath}`,
        ...env,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (data) => {
      this.#written += data;
    });
    this.#exit = new Promise((resolve) => this.#child.on('close', resolve));
    void this.#exit.then(() => {
      this.#hasEnded = true;
    });
  }

  /** All that was written; ESC is ⎋ and BEL is ⍾, so that they can be seen. */
  get raw(): string {
    return this.#written.replaceAll('\u001b', '⎋').replaceAll('\u0007', '⍾');
  }

  /** What was written, without escape sequences. */
  get text(): string {
    return stripVTControlCharacters(this.#written);
  }

  type(text: string): void {
    this.#child.stdin!.write(text);
  }

  /** Waits for what comes behind the last thing that was waited for. Rejects after 30 s, with what was there instead. */
  async waitFor(pattern: RegExp): Promise<string> {
    for (const end = performance.now() + 30_000; performance.now() < end; ) {
      const match = pattern.exec(this.raw.slice(this.#seen));
      if (match) {
        this.#seen += match.index + match[0].length;
        return match[0];
      }
      if (this.#hasEnded) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.#child.stdin!.destroy();
    this.#child.kill();
    throw new Error(`${pattern} did not come; there was ${JSON.stringify(this.raw.slice(this.#seen))}`);
  }

  /** The exit code. */
  exit(): Promise<number | null> {
    return this.#exit;
  }
}
