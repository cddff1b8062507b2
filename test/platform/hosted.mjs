/**
 * The platform suite under Node, Deno and Bun: prints its report as JSON, and leaves a model with running workers behind,
 * which must not keep the process alive. Usage: RUNTIME test/platform/hosted.mjs
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as library from '../../dist/index.js';
import { platformSuite } from './suite.mjs';

const path = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const location = path('checkpoints/smolvlm-shapes');
const picture = new Uint8Array(readFileSync(path('examples/pictures/shapes-on-checks.jpg')));

const report = await platformSuite(library, location, picture, { threads: [1, 2, 'auto', undefined] });

// Threads of this process, where the system tells: those of workers come with the first run and go with dispose().
const threadsNow = () => readdirSync('/proc/self/task').length;
if (process.platform === 'linux') {
  const model = await open();
  const before = threadsNow();
  await turn(model);
  const working = threadsNow();
  model.dispose();
  let left = threadsNow();
  for (let i = 0; i < 100 && left > working - 7; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    left = threadsNow();
  }
  report.tasks = { before, working, left };
  report.checks['workers start with the first run'] = working >= before + 7;
  report.checks['dispose() ends the workers'] = left <= working - 7;
}

// Left as it is: with this line said, the process ends.
const model = await open();
await turn(model);
report.checks['a model is left with 7 workers'] = model.threads === 8;
console.log(JSON.stringify(report));

function open() {
  return library.SmolVLMForConditionalGeneration.from_pretrained(location, { threads: 8 });
}

function turn(model) {
  return model.forward({ input_ids: { dims: [1, 4], data: BigInt64Array.of(5n, 6n, 7n, 8n) } });
}
