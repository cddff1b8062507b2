import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SmolVLMImageProcessor } from '../../src/index.js';

/** A picture whose values do not matter: only sizes are counted. */
function picture(height: number, width: number) {
  return { data: new Uint8Array(3 * height * width).fill(128), height, width, channels: 3 as const };
}

const cases = [
  { height: 100, width: 100, size: 40, tile: 20, rows: 2, cols: 2 },
  { height: 300, width: 600, size: 60, tile: 30, rows: 1, cols: 2 },
  // As the Statue of Liberty of the reference's tests: a wide 4:3 picture in 3 rows of 4 tiles.
  { height: 3 * 364, width: 4 * 364, size: 4 * 364, tile: 364, rows: 3, cols: 4 },
];

for (const { height, width, size, tile, rows, cols } of cases) {
  test(`a picture of ${height}×${width} at size ${size} and tile ${tile} is ${rows}×${cols} tiles and the global one`, async () => {
    const processor = new SmolVLMImageProcessor({
      size: { longest_edge: size },
      max_image_size: { longest_edge: tile },
    });
    const features = await processor.preprocess(picture(height, width));
    assert.equal(features.rows, [[rows]]);
    assert.equal(features.cols, [[cols]]);
    assert.equal(features.pixel_values.dims, [1, rows * cols + 1, 3, tile, tile]);
    assert.equal(features.pixel_attention_mask?.dims, [1, rows * cols + 1, tile, tile]);
  });
}

test.run();
