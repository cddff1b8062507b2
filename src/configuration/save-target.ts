import { nodeFileSystem } from '../checkpoint/node.js';
import { InputError } from '../errors.js';

/**
 * Where `save_pretrained` writes: a folder's path (Node, Deno, Bun), or a Map that gets the files by name, and which
 * `from_pretrained` reads as it is.
 */
export type SaveTarget = string | Map<string, Uint8Array<ArrayBuffer>>;

/** A folder being written. */
export interface TargetFolder {
  write(file: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** A file of a known size, written front to back: nothing larger than a piece is held where there is a disk. */
  open(file: string, size: number): Promise<TargetFile>;
}

export interface TargetFile {
  write(piece: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): Promise<void>;
  /** In place of `close`: the file is not there. */
  discard(): Promise<void>;
}

/** @throws InputError for a target of another kind, or a path that is no folder */
export async function openTarget(target: SaveTarget): Promise<TargetFolder> {
  if (target instanceof Map) return mapFolder(target);
  if (typeof target === 'string' && target !== '') return pathFolder(target);
  throw refused(String(target));
}

async function pathFolder(path: string): Promise<TargetFolder> {
  const { mkdir, open, rm, writeFile } = await nodeFileSystem().catch((cause) => {
    throw refused(`${path}, and there is no file system here`, cause);
  });
  await mkdir(path, { recursive: true }).catch((cause) => {
    throw refused(path, cause);
  });
  const base = path.replace(/[/\\]+$/, '');
  return {
    write: (file, bytes) => writeFile(`${base}/${file}`, bytes),
    async open(file) {
      const handle = await open(`${base}/${file}`, 'w');
      return {
        async write(piece) {
          // A write may take less than it was given.
          for (let done = 0; done < piece.length; ) {
            done += (await handle.write(piece, done, piece.length - done)).bytesWritten;
          }
        },
        close: () => handle.close(),
        async discard() {
          await handle.close();
          await rm(`${base}/${file}`, { force: true });
        },
      };
    },
  };
}

function mapFolder(files: Map<string, Uint8Array<ArrayBuffer>>): TargetFolder {
  return {
    async write(file, bytes) {
      files.set(file, bytes);
    },
    async open(file, size) {
      const whole = new Uint8Array(size);
      let done = 0;
      return {
        async write(piece) {
          whole.set(piece, done);
          done += piece.length;
        },
        async close() {
          files.set(file, whole);
        },
        async discard() {},
      };
    },
  };
}

function refused(got: string, cause?: unknown): InputError {
  const expected = 'the path of a folder, or a Map';
  return new InputError({ what: 'cannot save there', where: 'save_pretrained', expected, got, cause });
}
