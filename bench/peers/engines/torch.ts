/** torch with its fused attention (sdpa), where there is a Python that has it: engines/torch_session.py does the work. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { type Engine, Unsupported } from '../engine.js';

export const engine: Engine<string> = {
  async files(group, { dtype }, files) {
    if (group !== 'matmul' && group !== 'tile') throw new Unsupported('matrix products and tiles only');
    if (dtype !== 'float32') throw new Unsupported(`dtype ${dtype}`);
    return files.full256M();
  },
  async open(group, { threads, python = 'python3' }, folder) {
    const script = join('bench/peers/engines', 'torch_session.py');
    const child = spawn(python, [script, group, folder, String(threads)], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const lines = new Lines(child);
    const { version, missing } = await lines.next();
    if (missing !== undefined) throw new Unsupported(missing);
    return {
      version: String(version),
      async measure() {
        child.stdin?.write('run\n');
        return [Number((await lines.next()).seconds)];
      },
      peakBytes() {
        if (process.platform !== 'linux') return null;
        return (
          1024 * Number(readFileSync(`/proc/${child.pid}/status`, 'utf8').match(/^VmHWM:\s+(\d+)/m)?.[1])
        );
      },
      async close() {
        child.stdin?.end();
      },
    };
  },
};

/** The child's answers, a JSON object a line. */
class Lines {
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    child.on('error', () => {});
    const reader: Interface = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    this.#lines = reader[Symbol.asyncIterator]();
  }

  async next(): Promise<{ version?: string; missing?: string; seconds?: number }> {
    const { value, done } = await this.#lines.next();
    return done ? { missing: 'no Python that has torch' } : JSON.parse(value);
  }
}
