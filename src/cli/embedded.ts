import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CheckpointError } from '../errors.js';

const NAME = 'checkpoints/smolvlm-shapes';

/** The checkpoint that comes with the package. @throws CheckpointError when it was left out */
export function embeddedCheckpoint(): string {
  // The bundle and the unbundled build lie at different depths below the package's root.
  for (const depth of ['../../', '../../../', '../']) {
    const path = fileURLToPath(new URL(`${depth}${NAME}`, import.meta.url));
    if (existsSync(path)) return path;
  }
  throw new CheckpointError({
    what: 'the embedded checkpoint is missing',
    where: NAME,
    expected: 'the folder beside the package, or --model DIR',
    got: 'nothing',
  });
}
