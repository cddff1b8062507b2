import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root, seen from build/test/support. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** The checkpoint that comes with the package. */
export const shapes = join(root, 'checkpoints/smolvlm-shapes');
