import { closeSync, openSync, readSync } from 'node:fs';
import { type Dtype, decode } from '../../src/checkpoint/dtypes.js';

interface Entry {
  readonly dtype: Dtype;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

/** The tensors of a safetensors file, read when they are asked for. */
export class WeightsFile {
  #file: number;
  #header: Record<string, Entry>;
  #start: number;

  constructor(path: string) {
    this.#file = openSync(path, 'r');
    const length = Number(new DataView(this.#read(0, 8).buffer).getBigUint64(0, true));
    this.#header = JSON.parse(new TextDecoder().decode(this.#read(8, length)));
    this.#start = 8 + length;
  }

  /** @throws Error if there is no such tensor */
  tensor(name: string): { shape: number[]; values: Float32Array } {
    const entry = this.#header[name];
    if (!entry) throw new Error(`no tensor ${name}`);
    const [begin, end] = entry.data_offsets;
    const values = decode(entry.dtype, this.#read(this.#start + begin, end - begin)) as Float32Array;
    return { shape: entry.shape, values };
  }

  values(name: string): Float32Array {
    return this.tensor(name).values;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#header, name);
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.#file, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
      if (got === 0) throw new Error('the file ends early');
      done += got;
    }
    return bytes;
  }
}
