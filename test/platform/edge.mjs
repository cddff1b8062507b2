/**
 * The platform suite under Node with what edge functions lack taken away: compiling at run time, shared memory, workers,
 * finalizers. Prints its report as JSON.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const module = new WebAssembly.Module(readFileSync(path('dist/kernels.wasm')));
const { instantiate, Module } = WebAssembly;

const refuse = () => {
  throw new WebAssembly.CompileError('Wasm code generation disallowed by embedder');
};
// Node's own fetch, which needs some of it itself, is set up when one of its classes is first looked at.
void globalThis.Response;
await new Promise((resolve) => setTimeout(resolve, 0));
WebAssembly.compile = async () => refuse();
WebAssembly.compileStreaming = async () => refuse();
WebAssembly.instantiateStreaming = async () => refuse();
WebAssembly.validate = refuse;
WebAssembly.instantiate = async (source, imports) =>
  source instanceof Module ? instantiate(source, imports) : refuse();
WebAssembly.Module = new Proxy(Module, { construct: refuse });
for (const name of ['SharedArrayBuffer', 'Worker', 'FinalizationRegistry']) delete globalThis[name];

const library = await import('../../dist/index.js');
const { platformSuite } = await import('./suite.mjs');
const picture = new Uint8Array(readFileSync(path('examples/pictures/shapes-on-checks.jpg')));
const location = path('checkpoints/smolvlm-shapes');
const options = { threads: [1, 'auto', undefined], engine: { module } };
console.log(JSON.stringify(await platformSuite(library, location, picture, options)));
