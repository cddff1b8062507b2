import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as errors from '../../src/errors.js';
import { root } from '../support/paths.js';

const built: typeof errors = await import(`${root}/dist/index.js`);

const names = [
  'CheckpointError',
  'ConfigError',
  'DisposedError',
  'ImageError',
  'InputError',
  'MemoryError',
  'WorkerError',
] as const;

test('an error keeps its name in the minified bundle, says what, where, expected and got, and has them as fields', () => {
  const details = { what: 'wrong shape', where: 'input_ids', expected: '[1, 2]', got: '[3]' };
  for (const module of [errors, built]) {
    for (const name of names) {
      const error = new module[name](details);
      assert.is(error.name, name);
      assert.instance(error, module.SmolVLMError);
      assert.is(error.message, 'wrong shape (input_ids): expected [1, 2], got [3]');
      assert.is(`${error}`, `${name}: ${error.message}`);
      const { what, where, expected, got } = error;
      assert.equal({ what, where, expected, got }, details);
    }
  }
});

test.run();
