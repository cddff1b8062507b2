/** A file of results that survives: each record is on the disk before the next one is begun, and a later run goes on with it. */
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { InputError } from '../../errors.js';
import { type ResultFormat, type ResultRecord, recordKey } from './record.js';

export interface OpenResults {
  format: ResultFormat;
  /** Begin anew, whatever is there. */
  force?: boolean;
}

export class ResultsFile {
  readonly #path: string;
  readonly #format: ResultFormat;
  readonly #handle: FileHandle;
  /** Pipes and devices have nothing to sync. */
  readonly #isFile: boolean;
  readonly #done: ReadonlySet<string>;

  private constructor(
    path: string,
    format: ResultFormat,
    handle: FileHandle,
    { isFile, done }: { isFile: boolean; done: ReadonlySet<string> },
  ) {
    this.#path = path;
    this.#format = format;
    this.#handle = handle;
    this.#isFile = isFile;
    this.#done = done;
  }

  /**
   * Opens the file, or makes it. A last record that was not written to its end is cut off.
   * @param asked what this run is to make, as records without an answer: of these, failures that are in the file are taken
   * out, so that there is one record of each in the end
   * @throws InputError for a file that holds something else, or cannot be written
   */
  static async open(
    path: string,
    asked: readonly ResultRecord[],
    { format, force = false }: OpenResults,
  ): Promise<ResultsFile> {
    let handle: FileHandle | undefined;
    try {
      const isFile = (await stat(path).catch(() => undefined))?.isFile() ?? true;
      const text = force || !isFile ? '' : await textOf(path);
      const { entries, whole } = format.read(text, path);
      const again = new Set(asked.map(recordKey));
      const kept = entries.filter(
        ({ record }) => record.error === undefined || !again.has(recordKey(record)),
      );
      const isLess = kept.length < entries.length;
      if (isLess) await rewrite(path, format.head + kept.map(({ source }) => source).join(''));
      handle = await open(path, force && isFile ? 'w' : 'a');
      if (!isLess && isFile) await handle.truncate(Buffer.byteLength(text.slice(0, whole)));
      const good = kept.filter(({ record }) => record.error === undefined);
      const done = new Set(good.map(({ record }) => recordKey(record)));
      const file = new ResultsFile(path, format, handle, { isFile, done });
      if (whole === 0) await file.#append(format.head);
      return file;
    } catch (error) {
      await handle?.close();
      throw unwritable(path, error);
    }
  }

  /** Whether the file has an answer already. */
  has(record: ResultRecord): boolean {
    return this.#done.has(recordKey(record));
  }

  /** Once this is done, the record outlives the process and the machine. @throws InputError where it cannot be written */
  async add(record: ResultRecord): Promise<void> {
    await this.#append(this.#format.write(record)).catch((error) => {
      throw unwritable(this.#path, error);
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #append(text: string): Promise<void> {
    if (text === '') return;
    await this.#handle.appendFile(text);
    if (this.#isFile) await this.#handle.datasync();
  }
}

async function textOf(path: string): Promise<string> {
  try {
    // A byte-order mark, which spreadsheets leave, is three bytes that the text would lack: it is kept.
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await readFile(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Puts the text in the place of the file, at one blow. */
async function rewrite(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function unwritable(path: string, cause: unknown): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === undefined) return cause;
  const hint = code === 'ENOSPC' ? 'room on the disk' : 'a file that can be written';
  return new InputError({ what: 'results cannot be written', where: path, expected: hint, got: code, cause });
}
