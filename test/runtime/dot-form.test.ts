import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasRelaxedSimd, kernelsModule } from '../../src/runtime/binaries.js';
import { DOT_FORM_PAIRS, DOT_FORM_QUADS, fasterDotForm } from '../../src/runtime/dot-form.js';

const relaxed = hasRelaxedSimd();
if (!relaxed) console.log('SKIP the faster form of the dot product: this engine takes no relaxed SIMD');

(relaxed ? test : test.skip)('the faster form of the dot product is found within half a second', async () => {
  const module = await kernelsModule(true, false);
  const started = performance.now();
  const form = fasterDotForm(module);
  const taken = performance.now() - started;
  assert.ok(form === DOT_FORM_PAIRS || form === DOT_FORM_QUADS);
  assert.ok(taken < 500, `${taken} ms`);
});

test.run();
