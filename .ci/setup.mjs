/**
 * Brings a fresh clone to a runnable state: installs the pinned development dependencies when they are missing or out
 * of date, compiles the kernels (asc), embeds the binary, compiles the TypeScript (tsc) and bundles the package
 * (esbuild). Steps whose inputs have not changed since the last run are left out. Needs only Node >= 20 and npm.
 * Usage: node .ci/setup.mjs [--quiet]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const quiet = process.argv.includes('--quiet');
const say = (text) => quiet || console.log(text);

install();
step(
  'kernels',
  ['assembly', 'asconfig.json', '.ci/setup.mjs'],
  ['build/kernels.wasm', 'build/kernels-relaxed.wasm', 'src/runtime/kernels.generated.ts'],
  () => {
    mkdirSync(join(root, 'build'), { recursive: true });
    for (const target of ['release', 'relaxed']) compileKernels(target);
    embed();
  },
);
step(
  'jpeg decoder',
  ['.ci/embed-jpeg.mjs', 'package-lock.json'],
  ['src/processing/jpeg/libjpeg.generated.ts'],
  () => {
    run(process.execPath, [join(root, '.ci/embed-jpeg.mjs')]);
  },
);
step(
  'worker',
  [
    'src/runtime/worker.ts',
    'src/runtime/command.ts',
    'src/runtime/control.ts',
    'src/runtime/call.ts',
    '.ci/embed-worker.mjs',
  ],
  ['src/runtime/worker.generated.ts'],
  () => run(process.execPath, [join(root, '.ci/embed-worker.mjs')]),
);
step('typescript', ['src', 'test', 'bench', 'tsconfig.json', 'weights-manifest.json'], ['build/src'], () => {
  removeStale();
  bin('typescript', 'bin/tsc', ['-p', 'tsconfig.json']);
});
step(
  'bundle',
  ['src', 'package.json', 'weights-manifest.json', '.ci/bundle.mjs'],
  ['dist/index.js', 'dist/kernels.wasm'],
  () => {
    run(process.execPath, [join(root, '.ci/bundle.mjs')]);
  },
);

function install() {
  const lock = join(root, 'package-lock.json');
  const stamp = join(root, 'node_modules', '.installed');
  const want = hash([lock]);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === want) return;
  say('installing development dependencies (npm install)');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  // Not `npm ci`: it refuses a lockfile when a registry's mirror lacks other platforms' optional packages.
  run(npm, ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts']);
  writeFileSync(stamp, want);
}

/** Runs `action` if the inputs' hash differs from the one of the last successful run, or an output is missing. */
function step(name, inputs, outputs, action) {
  const stamp = join(root, 'build', `.${name}.stamp`);
  const want = hash(inputs.map((path) => join(root, path)));
  const fresh = existsSync(stamp) && readFileSync(stamp, 'utf8') === want;
  if (fresh && outputs.every((path) => existsSync(join(root, path)))) return;
  say(`building: ${name}`);
  rmSync(stamp, { force: true });
  action();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash(inputs.map((path) => join(root, path))));
}

/** asc says on every build that its last pass found nothing more: left out, all else is shown. */
function compileKernels(target) {
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  const { status, stderr } = spawnSync(process.execPath, [asc, '--target', target], {
    cwd: root,
    encoding: 'utf8',
  });
  const told = (stderr ?? '').replace(/^Last converge was suboptimal\.\r?\n?/gm, '');
  process.stderr.write(told);
  if (status === 0) return;
  console.error(`setup failed at: asc --target ${target}`);
  process.exit(1);
}

/** The kernels' binaries travel inside the JavaScript, so that no runtime has to find a file beside it. */
function embed() {
  const base64 = (name) => readFileSync(join(root, 'build', name)).toString('base64');
  const text = [
    '// Made by .ci/setup.mjs from build/kernels.wasm and build/kernels-relaxed.wasm; not committed.',
    `export const KERNELS_WASM_BASE64 =\n  '${base64('kernels.wasm')}';`,
    '/** The variant with relaxed SIMD (fused multiply-add, the 7-bit dot product). */',
    `export const KERNELS_RELAXED_WASM_BASE64 =\n  '${base64('kernels-relaxed.wasm')}';`,
    '',
  ].join('\n');
  writeFileSync(join(root, 'src/runtime/kernels.generated.ts'), text);
}

/** Outputs of deleted sources would still be run as tests. */
function removeStale() {
  for (const folder of ['src', 'test', 'bench']) {
    const output = join(root, 'build', folder);
    if (!existsSync(output)) continue;
    for (const name of readdirSync(output, { recursive: true })) {
      const source = String(name).replace(/\.(d\.ts|js|js\.map)$/, '.ts');
      if (source !== name && !existsSync(join(root, folder, source))) rmSync(join(output, String(name)));
    }
  }
}

function hash(paths) {
  const sum = createHash('sha256');
  const visit = (path) => {
    if (!existsSync(path)) return;
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) if (name !== 'node_modules') visit(join(path, name));
    } else if (/\.(m?js|ts|json)$/.test(path)) {
      sum.update(path).update(readFileSync(path));
    }
  };
  paths.forEach(visit);
  return sum.digest('hex');
}

function bin(packageName, path, args) {
  run(process.execPath, [join(root, 'node_modules', packageName, path), ...args]);
}

function run(command, args) {
  try {
    execFileSync(command, args, { cwd: root, stdio: ['ignore', quiet ? 'pipe' : 'inherit', 'inherit'] });
  } catch (error) {
    if (error.stdout) process.stderr.write(error.stdout);
    console.error(`setup failed at: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}
