import { HubError } from '../../errors.js';
import type { FolderFiles } from '../storage.js';
import { FileStorage } from './file-storage.js';
import type { HubOptions } from './options.js';
import { PieceStorage } from './piece-storage.js';
import { browserStore } from './piece-stores.js';
import { HubRepository } from './repository.js';
import { type HubSettings, hubSettings } from './settings.js';
import type { HubStorage } from './storage.js';
import { streamedRepository } from './streamed.js';

/** Whether a text can be the name of a repository: two names of letters, digits, `_`, `-` and `.`, and a slash. */
export function isRepositoryName(text: string): boolean {
  const [owner, name, ...more] = text.split('/');
  if (name === undefined || more.length > 0 || /--|\.\.|\.git$/.test(text)) return false;
  return [owner, name].every((part) => part.length <= 96 && /^\w([\w.-]*\w)?$/.test(part));
}

/**
 * A repository of a hub as a checkpoint's files: kept on disk or in the browser's storage, or where there is neither read as
 * they arrive.
 * @throws HubError; InputError for an option; AbortError
 */
export async function openRepository(name: string, options: HubOptions): Promise<FolderFiles> {
  const settings = await hubSettings(options);
  const storage = await storageHere(settings);
  if (storage) return HubRepository.open(name, settings, storage, options);
  return streamedRepository(name, settings, options);
}

/** The same where files must be kept. @param storage instead of the place that belongs to this host */
export async function keptRepository(
  name: string,
  options: HubOptions,
  storage?: HubStorage,
): Promise<HubRepository> {
  const settings = await hubSettings(options);
  const place = storage ?? (await storageHere(settings));
  if (place) return HubRepository.open(name, settings, place, options);
  const expected = 'a file system, OPFS or the Cache API';
  throw new HubError({
    code: 'Storage',
    what: 'nowhere to keep files',
    where: name,
    expected,
    got: 'none of them',
  });
}

async function storageHere({ cacheDir }: HubSettings): Promise<HubStorage | undefined> {
  if (cacheDir !== undefined) return new FileStorage(cacheDir);
  const store = await browserStore();
  return store && new PieceStorage(store);
}
