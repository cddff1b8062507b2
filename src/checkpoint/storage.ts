import { CheckpointError, checkSignal, InputError } from '../errors.js';
import { isNotFound, nodeFileSystem } from './node.js';
import { type ByteSource, blobSource, bytesSource, fileSource, unreadable } from './source.js';
import { urlSource } from './stream.js';

/** Where a checkpoint's files lie: a folder, a URL, or a map. Names are plain file names. */
export interface FolderFiles {
  readonly name: string;
  /** A file's name as messages give it. */
  describe(file: string): string;
  has(file: string, signal?: AbortSignal): Promise<boolean>;
  /** undefined if there is no such file. */
  open(file: string, signal?: AbortSignal): Promise<ByteSource | undefined>;
  /** Told of files that will all be opened, where fetching them at once is faster than one after the other. */
  prepare?(files: readonly string[], signal?: AbortSignal): Promise<void>;
  /** Nothing is opened for now. */
  close?(): Promise<void>;
}

/** Files by name, as a browser's file picker or an archive gives them. A string is the text of a file. */
export type NamedFiles = Readonly<Record<string, FileContent>> | ReadonlyMap<string, FileContent>;

export type FileContent = Uint8Array | ArrayBuffer | Blob | string;

/** @throws CheckpointError if the folder does not exist or is none. */
export async function pathFiles(folder: string): Promise<FolderFiles> {
  const { stat } = await nodeFileSystem();
  const stats = await stat(folder).catch((error) => {
    if (!isNotFound(error)) throw unreadable(folder, 0, error);
    const expected = 'a folder with config.json and model.safetensors';
    throw new CheckpointError({
      what: 'checkpoint folder missing',
      where: folder,
      expected,
      got: 'nothing',
      cause: error,
    });
  });
  if (!stats.isDirectory()) {
    throw new CheckpointError({
      what: 'not a checkpoint folder',
      where: folder,
      expected: 'a folder',
      got: 'a file',
    });
  }
  const base = folder.replace(/[/\\]+$/, '');
  const describe = (file: string) => `${base}/${file}`;
  const has = async (file: string) => {
    const found = await stat(describe(file)).catch((error) => {
      if (isNotFound(error)) return undefined;
      throw unreadable(describe(file), 0, error);
    });
    return found?.isFile() ?? false;
  };
  return {
    name: folder,
    describe,
    has,
    open: async (file) => ((await has(file)) ? fileSource(describe(file)) : undefined),
  };
}

/** Files under a base URL, fetched when they are asked for; a 404 is a missing file. */
export function urlFiles(base: URL): FolderFiles {
  const folder = new URL(base);
  if (!folder.pathname.endsWith('/')) folder.pathname += '/';
  const describe = (file: string) => new URL(encodeURIComponent(file), folder).href;
  const open = async (file: string, signal?: AbortSignal) => {
    try {
      return await urlSource(describe(file), describe(file), signal);
    } catch (error) {
      if (error instanceof CheckpointError && error.what === 'file missing') return undefined;
      throw error;
    }
  };
  const has = async (file: string, signal?: AbortSignal) => {
    checkSignal(signal);
    const response = await fetch(describe(file), { method: 'HEAD', signal }).catch((error) => {
      checkSignal(signal);
      throw unreadable(describe(file), 0, error);
    });
    if (response.ok || response.status === 404) return response.ok;
    // Some servers know no HEAD.
    const source = await open(file, signal);
    await source?.close();
    return source !== undefined;
  };
  return { name: folder.href, describe, has, open };
}

/** @throws InputError at the opening of an entry that is neither bytes, a Blob nor a string. */
export function mapFiles(files: NamedFiles): FolderFiles {
  const map = new Map<string, FileContent>(files instanceof Map ? files : Object.entries(files));
  return {
    name: 'files',
    describe: (file) => file,
    has: async (file) => map.has(file),
    open: async (file) => {
      const content = map.get(file);
      return content === undefined ? undefined : contentSource(file, content);
    },
  };
}

function contentSource(file: string, content: FileContent): ByteSource {
  if (typeof content === 'string') return bytesSource(new TextEncoder().encode(content), file);
  if (content instanceof Uint8Array || content instanceof ArrayBuffer) return bytesSource(content, file);
  if (content instanceof Blob) return blobSource(content, file);
  throw new InputError({
    what: 'a file of another kind',
    where: file,
    expected: 'Uint8Array, ArrayBuffer, Blob or string',
    got: Object.prototype.toString.call(content).slice(8, -1),
  });
}
