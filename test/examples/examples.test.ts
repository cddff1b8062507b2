import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/paths.js';

const folder = join(root, 'examples');

/** Runs an example as a user would, over the bundled package. */
function run(name: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(folder, name)], { stdio: ['ignore', 'pipe', 'pipe'] });
    const out = { code: null as number | null, stdout: '', stderr: '' };
    child.stdout.on('data', (data) => {
      out.stdout += data;
    });
    child.stderr.on('data', (data) => {
      out.stderr += data;
    });
    child.on('close', (code) => resolve({ ...out, code }));
  });
}

/** What each example must print; an example that is not listed here fails the last test. */
const EXPECTED: Readonly<Record<string, RegExp[]>> = {
  'conversation.mjs': [/^Three\.$/m, /^Red\. \(\d+ of \d+ tokens were known\)$/m],
  'configuration.mjs': [
    /defaults: smolvlm, scale_factor 2, image 224/,
    /last_hidden_state: \[1,5,32\]/,
    /patches: \[1,16,32\]/,
  ],
  'image-sizes.mjs': [
    /2 · 512.*pixel_values \[1,5,3,512,512\], 2 rows and 2 columns/,
    /one square tile: pixel_values \[1,1,3,512,512\]/,
  ],
  'single-picture.mjs': [
    /Assistant: A red star, a yellow circle and a purple triangle on a plain light blue background\./,
  ],
  'several-pictures.mjs': [/^2 tiles, \d+ tokens/, /Assistant:/],
  'mixed-batch.mjs': [/Assistant: A red star, a yellow circle and a purple triangle/, /(--\n[\s\S]*){3}/],
  'text-only.mjs': [/\S/],
  'video.mjs': [/frames/, /Assistant:/],
  'demo.mjs': [/Describe this image\./, /\d ms, \d+ tokens\]/],
};

for (const [name, patterns] of Object.entries(EXPECTED)) {
  test(`examples/${name} runs and prints what it should`, async () => {
    const { code, stdout, stderr } = await run(name);
    assert.is(code, 0, stderr);
    assert.is(stderr, '');
    for (const pattern of patterns) assert.match(stdout, pattern);
  });
}

test('every example is run by the suite', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.mjs'));
  assert.equal(files.sort(), Object.keys(EXPECTED).sort());
});

test.run();
