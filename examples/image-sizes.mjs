/** How the image processor resizes and splits: `size`, `max_image_size`, `do_resize`, `do_image_splitting`. */
import { readFile } from 'node:fs/promises';
import { SmolVLMImageProcessor } from 'smolvlm-wasm';

const picture = new Uint8Array(await readFile(new URL('pictures/shapes-on-checks.jpg', import.meta.url)));

const settings = {
  'the defaults: longest edge 4 · 364, tiles of 364': {},
  'longest edge 2 · 512, tiles of 512': {
    do_resize: true,
    size: { longest_edge: 2 * 512 },
    max_image_size: { longest_edge: 512 },
  },
  'one square tile': { do_image_splitting: false, max_image_size: { longest_edge: 512 } },
};
for (const [name, options] of Object.entries(settings)) {
  const processor = new SmolVLMImageProcessor(options);
  const { pixel_values, rows, cols } = await processor.preprocess(picture);
  console.log(`${name}: pixel_values [${pixel_values.dims}], ${rows[0][0]} rows and ${cols[0][0]} columns`);
}
