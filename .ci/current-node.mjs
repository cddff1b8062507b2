/**
 * Prints the path of a Node whose engine has relaxed SIMD, which Node 20's has not, for the tests of the relaxed kernels: this one if
 * it does, else one that npm installs under build/. Prints nothing where there is none for this platform, or no network.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSION = '26';
const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build', 'current-node');
const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
const binary = join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

if (Number(process.versions.node.split('.')[0]) >= 24) console.log(process.execPath);
else if (installed()) console.log(binary);

function installed() {
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const options = [
      'install',
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      '--ignore-scripts',
    ];
    spawnSync(npm, [...options, `${name}@${VERSION}`], { cwd: folder, stdio: 'ignore' });
  }
  return spawnSync(binary, ['--version']).status === 0;
}
