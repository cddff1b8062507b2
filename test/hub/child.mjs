/**
 * A process that downloads one repository's weights: endpoint, cache and name as arguments. Says `{"event"}` lines, and at the
 * end `{"sha256"}` of what it would load, or `{"error"}`.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { snapshot_download } from '../../dist/index.js';

const [endpoint, cache_dir, name] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const progress_callback = ({ status, file, loaded }) => {
  if (file === 'model.safetensors') say({ status, loaded });
};
try {
  const { folder } = await snapshot_download(name, { endpoint, cache_dir, progress_callback });
  const bytes = readFileSync(join(folder, 'model.safetensors'));
  say({ sha256: createHash('sha256').update(bytes).digest('hex') });
} catch (error) {
  say({ error: String(error) });
}
