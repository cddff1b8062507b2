/** A worker under workerd on loopback, every file that it imports embedded. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './paths.js';

const LIMIT_MS = 120_000;

export type WorkerModule = [kind: 'esModule' | 'json' | 'wasm' | 'data', name: string, text?: string];

/**
 * Serves the first module and fetches a path of it as JSON.
 * @param program workerd
 * @param modules by their names below the repository's root, or with their text; the bundle comes along
 */
export async function fetchWorker<T>(program: string, modules: WorkerModule[], path = '/'): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'smolvlm-workerd-'));
  const chunks = readdirSync(join(root, 'dist')).filter((name) => name.endsWith('.js'));
  const all = [...modules, ...chunks.map((name): WorkerModule => ['esModule', `dist/${name}`])];
  const lines = all.map(([kind, name, text], i) => {
    const at = text === undefined ? join(root, name) : join(folder, `${i}`);
    if (text !== undefined) writeFileSync(at, text);
    return `(name = "${name}", ${kind} = embed ${JSON.stringify(at)})`;
  });
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .suite),
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ],
);
const suite :Workerd.Worker = (compatibilityDate = "2025-01-01", modules = [
  ${lines.join(',\n  ')},
]);
`;
  writeFileSync(join(folder, 'config.capnp'), config);
  const args = ['serve', join(folder, 'config.capnp'), '--import-path=/', '--control-fd=1'];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const port = await new Promise<string>((resolve, reject) => {
      let output = '';
      let errors = '';
      child.stdout.on('data', (data) => {
        output += data;
        const [, port] = /"port":(\d+)/.exec(output) ?? [];
        if (port) resolve(port);
      });
      child.stderr.on('data', (data) => {
        errors += data;
      });
      child.on('error', reject);
      child.on('close', (code) => reject(new Error(`workerd ended with ${code}: ${errors}`)));
    });
    const signal = AbortSignal.timeout(LIMIT_MS);
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal });
    return (await response.json()) as T;
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}
