import { MemoryError } from '../errors.js';
import { type DotForm, fasterDotForm } from './dot-form.js';
import { KERNELS_RELAXED_WASM_BASE64, KERNELS_WASM_BASE64 } from './kernels.generated.js';

/** The kernels' embedded binaries, each compiled once per process and shared by all engines. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/**
 * @param relaxed the variant with relaxed SIMD, whose results depend on the processor
 * @param shared the form that imports a shared memory: the same code, one flag of the import section set
 */
export function kernelsModule(relaxed: boolean, shared: boolean): Promise<WebAssembly.Module> {
  const key = `${relaxed} ${shared}`;
  let module = compiled.get(key);
  if (!module) {
    const binary = fromBase64(relaxed ? KERNELS_RELAXED_WASM_BASE64 : KERNELS_WASM_BASE64);
    module = WebAssembly.compile(shared ? withSharedMemory(binary) : binary);
    compiled.set(key, module);
  }
  return module;
}

let form: Promise<DotForm> | undefined;

/**
 * The faster form of the relaxed build's dot product, found once per process.
 * @param module the relaxed build for unshared memory, where it is compiled already
 */
export function relaxedDotForm(module?: WebAssembly.Module): Promise<DotForm> {
  form ??= Promise.resolve(module ?? kernelsModule(true, false)).then(fasterDotForm);
  return form;
}

let relaxedSimd: boolean | undefined;

/** Whether this engine takes modules with relaxed SIMD (Node 20 does not). */
export function hasRelaxedSimd(): boolean {
  relaxedSimd ??= WebAssembly.validate(fromBase64(KERNELS_RELAXED_WASM_BASE64));
  return relaxedSimd;
}

const IMPORT_SECTION = 2;
const MEMORY_IMPORT = 2;
const HAS_MAXIMUM = 1;
const SHARED_WITH_MAXIMUM = 3;

/** Sets the flag of the one import, `env.memory`, that says its memory is shared. */
function withSharedMemory(binary: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let at = 8;
  while (at < binary.length) {
    const id = binary[at];
    const size = leb128(binary, at + 1);
    if (id === IMPORT_SECTION) {
      const count = leb128(binary, size.next);
      const moduleName = leb128(binary, count.next);
      const fieldName = leb128(binary, moduleName.next + moduleName.value);
      const kind = fieldName.next + fieldName.value;
      if (count.value === 1 && binary[kind] === MEMORY_IMPORT && binary[kind + 1] === HAS_MAXIMUM) {
        binary[kind + 1] = SHARED_WITH_MAXIMUM;
        return binary;
      }
    }
    at = size.next + size.value;
  }
  throw new MemoryError({
    what: 'no memory import',
    where: 'the kernels',
    expected: 'env.memory with a maximum',
  });
}

function leb128(bytes: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, next: at };
  }
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
