/** The default JPEG decoder: libjpeg in WebAssembly (@jsquash/jpeg), with Pillow's pixels. Embedded, so no file is read. */
import mozjpeg, { type MozJPEGModule } from '@jsquash/jpeg/codec/dec/mozjpeg_dec.js';
import { byRows, paced } from '../paced.js';
import { inflateRaw } from '../png/inflate.js';
import { LIBJPEG_WASM_BYTES, LIBJPEG_WASM_DEFLATED_BASE64 } from './libjpeg.generated.js';
import { damaged } from './markers.js';

/** An instance whose memory grew beyond this is dropped after use: wasm memory never shrinks. */
const KEEP_BYTES = 64 * 2 ** 20;

let compiled: Promise<WebAssembly.Module | undefined> | undefined;
let idle: Instance | undefined;

interface Instance {
  module: MozJPEGModule;
  memory: WebAssembly.Memory | undefined;
  messages: string[];
}

/**
 * Hands over a compiled module of @jsquash/jpeg's mozjpeg_dec.wasm, for runtimes that forbid compiling at run time.
 * Without it such runtimes decode JPEGs with the script decoder.
 */
export function setLibjpegModule(module: WebAssembly.Module): void {
  compiled = Promise.resolve(module);
  idle = undefined;
}

/** Whether this runtime lets the embedded decoder be compiled. */
export async function libjpegAvailable(): Promise<boolean> {
  return (await compile()) !== undefined;
}

/**
 * RGB pixels of a JPEG of one or three components, three bytes each, with libjpeg's first warning if it had any.
 * Throws ImageError with libjpeg's own words. The decoding itself is one call, which nothing interrupts.
 */
export async function decodeLibjpeg(
  bytes: Uint8Array,
  width: number,
  height: number,
  signal: AbortSignal | undefined,
): Promise<{ data: Uint8Array; warning: string | undefined }> {
  const instance = idle ?? (await instantiate());
  idle = undefined;
  instance.messages.length = 0;
  let image: ImageData | null;
  try {
    // false: as stored. With true it would turn the picture by its Exif orientation itself.
    image = instance.module.decode(bytes as Uint8Array<ArrayBuffer>, false);
  } catch (cause) {
    // After an error exit the instance's heap is in an unknown state: it is not used again.
    throw failure(instance.messages[0] ?? String((cause as Error).message ?? cause), bytes, cause);
  }
  if (image === null || image.width !== width || image.height !== height) {
    throw failure(instance.messages[0] ?? 'no picture of the size in the header', bytes, undefined);
  }
  const warning = instance.messages[0];
  if ((instance.memory?.buffer.byteLength ?? Number.POSITIVE_INFINITY) <= KEEP_BYTES) idle = instance;
  const data = new Uint8Array(width * height * 3);
  const rgba = image.data;
  await paced(
    byRows(width * height, 1, (first, end) => withoutAlpha(rgba, data, first, end)),
    signal,
  );
  return { data, warning };
}

function withoutAlpha(rgba: Uint8ClampedArray, rgb: Uint8Array, first: number, end: number): void {
  for (let from = 4 * first, to = 3 * first; to < 3 * end; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
}

function failure(message: string, bytes: Uint8Array, cause: unknown) {
  const error = damaged('cannot be decoded', bytes.length, 'data that libjpeg accepts', message);
  error.cause = cause;
  return error;
}

function compile(): Promise<WebAssembly.Module | undefined> {
  compiled ??= (async () => {
    try {
      const packed = Uint8Array.from(atob(LIBJPEG_WASM_DEFLATED_BASE64), (char) => char.charCodeAt(0));
      return await WebAssembly.compile(inflateRaw(packed, LIBJPEG_WASM_BYTES));
    } catch {
      return undefined;
    }
  })();
  return compiled;
}

async function instantiate(): Promise<Instance> {
  const wasm = await compile();
  const instance: Instance = {
    module: undefined as unknown as MozJPEGModule,
    memory: undefined,
    messages: [],
  };
  instance.module = await mozjpeg({
    noInitialRun: true,
    locateFile: (path: string) => path,
    print: () => {},
    printErr: (text: string) => instance.messages.push(text),
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) {
      const created = new WebAssembly.Instance(wasm!, imports);
      instance.memory = Object.values(created.exports).find((value) => value instanceof WebAssembly.Memory);
      done(created);
      return created.exports;
    },
  });
  return instance;
}
