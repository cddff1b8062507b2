/**
 * Writes src/processing/jpeg/libjpeg.generated.ts: @jsquash/jpeg's libjpeg as deflated base64, so that neither a runtime nor a
 * bundle has to find a .wasm file. Called by .ci/setup.mjs before tsc; usable alone: node .ci/embed-jpeg.mjs
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm');
const target = join(root, 'src/processing/jpeg/libjpeg.generated.ts');

const binary = readFileSync(source);
const packed = deflateRawSync(binary, { level: 9 }).toString('base64');
const text = [
  '// Made by .ci/embed-jpeg.mjs from @jsquash/jpeg (Apache-2.0, with mozjpeg/libjpeg-turbo); not committed.',
  `export const LIBJPEG_WASM_BYTES = ${binary.length};`,
  `export const LIBJPEG_WASM_DEFLATED_BASE64 =\n  '${packed}';`,
  '',
].join('\n');
// Left alone when nothing changed, so that the build steps that hash src/ stay fresh.
if (!existsSync(target) || readFileSync(target, 'utf8') !== text) writeFileSync(target, text);
