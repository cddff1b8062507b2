/** The most memory that a process ever held: one picture of one tile, 64 tokens. */
import { readFileSync } from 'node:fs';
import { openModel } from './configuration.js';
import { pictureIds, tile } from './inputs.js';
import type { Job, Say } from './job.js';
import { sizeConfig } from './sizes.js';

const NEW_TOKENS = 64;

/** In a process of its own. Figures in bytes. */
export async function measureMemory({ size, folder, configuration }: Job, say: Say): Promise<void> {
  const config = sizeConfig(size);
  const bare = highWater();
  const model = await openModel(folder, configuration, {});
  const loaded = highWater();
  await model.generate({
    input_ids: pictureIds(config),
    pixel_values: tile(config),
    max_new_tokens: NEW_TOKENS,
    min_new_tokens: NEW_TOKENS,
  });
  say({ figures: { bare, loaded, whole: highWater(), wasm: model.memory } });
  model.dispose();
}

/** Resident memory at its highest: VmHWM, or where there is no /proc, getrusage's, which may include the parent's. */
function highWater(): number {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
    return 1024 * Number(kibibytes);
  } catch {
    return 1024 * process.resourceUsage().maxRSS;
  }
}
