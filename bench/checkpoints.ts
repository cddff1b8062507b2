/**
 * Checkpoint folders of the real sizes with counter weights in BF16, written once below bench/out/checkpoints/ (0.5 to
 * 4.5 GB each; delete them as you like).
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { counterFile } from '../test/support/counter.js';
import { root } from '../test/support/paths.js';
import { type Size, type SizeChange, sizeJson } from './sizes.js';

export const OUT = join(root, 'bench/out');

const PIECE = 8 << 20;

/** The folder of a size (cut as for `sizeJson`), made if it is not there yet. */
export async function checkpoint(size: Size, change?: SizeChange): Promise<string> {
  const config = sizeJson(size, change);
  const hash = createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 8);
  const folder = join(OUT, 'checkpoints', `${size}-${hash}`);
  if (existsSync(folder)) return folder;
  // Under another name until it is whole: a run that was ended leaves nothing that looks finished.
  const making = `${folder}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { recursive: true });
  await writeFile(join(making, 'config.json'), JSON.stringify(config));
  await writeWeights(join(making, 'model.safetensors'), config);
  await rename(making, folder);
  return folder;
}

async function writeWeights(path: string, config: object): Promise<void> {
  const source = counterFile(config, { dtype: 'BF16' });
  const started = performance.now();
  const file = await open(path, 'w');
  try {
    const piece = new Uint8Array(PIECE);
    for (let offset = 0; offset < source.size; offset += PIECE) {
      const part = piece.subarray(0, Math.min(PIECE, source.size - offset));
      await source.read(offset, part);
      await file.write(part);
    }
  } finally {
    await file.close();
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.error(`made ${path} (${(source.size / 1e6).toFixed(0)} MB, ${seconds} s)`);
}
