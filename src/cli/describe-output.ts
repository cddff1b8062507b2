/** Where answers go: as text, as records on the standard output, to a file that a later run goes on with. */
import type { OutputFormat } from './describe.js';
import { csv } from './results/csv.js';
import { jsonl } from './results/jsonl.js';
import type { ResultFormat, ResultRecord } from './results/record.js';
import type { ResultsFile } from './results/results-file.js';
import { seconds } from './terminal.js';
import { printable } from './text-width.js';

export const FORMATS: Readonly<Record<OutputFormat, ResultFormat>> = { jsonl, csv };

/** Gets each picture's answer. */
export interface Output {
  /** A piece of the answer about the current picture, as it is made. */
  piece?(path: string, piece: string): void;
  /** All about a picture. Errors are reported elsewhere, too. */
  record(record: ResultRecord): Promise<void> | void;
}

interface Writable {
  isTTY?: boolean;
  write(text: string): unknown;
}

/** Text for people: each answer on a line, behind the file's name if there are several. */
export class TextOutput implements Output {
  readonly #stream: Writable;
  readonly #options: { titles: boolean; time: boolean; relaxed: boolean };
  #begun = false;

  constructor(stream: Writable, options: { titles: boolean; time: boolean; relaxed: boolean }) {
    this.#stream = stream;
    this.#options = options;
  }

  piece(path: string, piece: string): void {
    this.#begin(path);
    this.#write(piece);
  }

  record({ path, error, timings, usage }: ResultRecord): void {
    if (error !== undefined) {
      if (this.#begun) this.#write('\n');
      this.#begun = false;
      return;
    }
    this.#begin(path);
    const build = this.#options.relaxed ? ', relaxed SIMD' : '';
    const time = `  [${seconds(timings!.total_ms)}, ${usage!.completion_tokens} tokens${build}]`;
    this.#write(this.#options.time ? `${time}\n` : '\n');
    this.#begun = false;
  }

  #begin(path: string): void {
    if (!this.#begun && this.#options.titles) this.#write(`${path}: `);
    this.#begun = true;
  }

  #write(text: string): void {
    this.#stream.write(this.#stream.isTTY ? printable(text) : text);
  }
}

/** Records on a stream. */
export class RecordOutput implements Output {
  readonly #stream: Writable;
  readonly #format: ResultFormat;

  constructor(stream: Writable, format: ResultFormat) {
    this.#stream = stream;
    this.#format = format;
    if (format.head !== '') stream.write(format.head);
  }

  record(record: ResultRecord): void {
    this.#stream.write(this.#format.write(record));
  }
}

/** Records in a file. */
export class FileOutput implements Output {
  readonly #file: ResultsFile;

  constructor(file: ResultsFile) {
    this.#file = file;
  }

  record(record: ResultRecord): Promise<void> {
    return this.#file.add(record);
  }
}
