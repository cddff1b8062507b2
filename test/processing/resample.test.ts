import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SmolVLMError } from '../../src/errors.js';
import { premultiply, unpremultiply } from '../../src/processing/alpha.js';
import { runSync } from '../../src/processing/paced.js';
import { resample, resamplingName } from '../../src/processing/resample.js';
import { cosine, sine } from '../../src/processing/sine.js';
import { cases, formula, type PictureName, sha256 } from './pictures.js';

interface ResampleCase {
  picture: PictureName;
  size: [number, number];
  resample: number;
  sha256: string;
}

test('240 pictures of 1, 3 and 4 channels resized by all six filters have the bytes of Pillow 13', () => {
  const all = cases<ResampleCase>('resample.json');
  assert.is(all.length, 240);
  const seen = new Set<string>();
  for (const { picture, size, resample: number, sha256: expected } of all) {
    const [height, width] = size;
    const filter = resamplingName(number);
    const image = formula(picture);
    const premultiplied = image.channels === 4 && filter !== 'nearest';
    const same = image.width === width && image.height === height;
    const result =
      premultiplied && !same
        ? runSync(unpremultiply(resample(runSync(premultiply(image)), width, height, filter)))
        : resample(image, width, height, filter);
    assert.is(sha256(result.data), expected, `${picture} to ${size}, ${filter}`);
    seen.add(`${filter} ${image.channels}`);
  }
  assert.is(seen.size, 18, 'every filter with every number of channels');
});

test('sine and cosine are within 1 ulp of Math.sin and Math.cos for arguments up to 30', () => {
  let worst = 0;
  for (let i = -30000; i <= 30000; i++) {
    const x = i / 1000 + 1e-7 * i;
    for (const [ours, theirs] of [
      [sine(x), Math.sin(x)],
      [cosine(x), Math.cos(x)],
    ]) {
      const ulp = 2 ** (Math.floor(Math.log2(Math.abs(theirs) || 2 ** -1000)) - 52);
      worst = Math.max(worst, Math.abs(ours - theirs) / ulp);
    }
  }
  assert.ok(worst <= 1, `worst ${worst} ulp`);
  assert.is(sine(0), 0);
  assert.is(cosine(0), 1);
});

test('an unknown filter is a ConfigError that lists the known ones', () => {
  try {
    resamplingName(6);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, SmolVLMError);
    assert.is((error as SmolVLMError).name, 'ConfigError');
    assert.is((error as SmolVLMError).where, 'resample');
    assert.match((error as SmolVLMError).expected!, '1 (lanczos)');
    assert.is((error as SmolVLMError).got, '6');
  }
});

test.run();
