import type { FolderFiles } from '../storage.js';
import { FileStorage } from './file-storage.js';
import type { HubOptions } from './options.js';
import { HubRepository } from './repository.js';
import { hubSettings } from './settings.js';
import type { HubStorage } from './storage.js';

/** Whether a text can be the name of a repository: two names of letters, digits, `_`, `-` and `.`, and a slash. */
export function isRepositoryName(text: string): boolean {
  const [owner, name, ...more] = text.split('/');
  if (name === undefined || more.length > 0 || /--|\.\.|\.git$/.test(text)) return false;
  return [owner, name].every((part) => part.length <= 96 && /^\w([\w.-]*\w)?$/.test(part));
}

/**
 * A repository of a hub as a checkpoint's files.
 * @param storage where files are kept, instead of the place that belongs to this host
 * @throws HubError; InputError for an option; AbortError
 */
export async function openRepository(
  name: string,
  options: HubOptions,
  storage?: HubStorage,
): Promise<FolderFiles> {
  const settings = await hubSettings(options);
  const place = storage ?? new FileStorage(settings.cacheDir!);
  return HubRepository.open(name, settings, place, options);
}
