import { test } from 'uvu';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { bytesSource } from '../../src/checkpoint/source.js';
import { CheckpointError } from '../../src/errors.js';
import { type ErrorParts, headerOf, rawSafetensors, rejects } from './helpers.js';

const open = (file: Uint8Array) => openSafetensors(bytesSource(file, 'x.safetensors'));
const ONE = headerOf({ a: ['F32', [2], 0, 8] });

const deep = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
const tensor = (fields: string) => `{"a":{${fields}}}`;
const lying: [string, Uint8Array, ErrorParts][] = [
  [
    'an empty file',
    new Uint8Array(0),
    { where: 'x.safetensors, byte 0', expected: '8 bytes', got: '0 bytes' },
  ],
  ['seven bytes', new Uint8Array(7), { where: 'byte 0', expected: '8 bytes', got: '7 bytes' }],
  [
    'a header longer than the file',
    rawSafetensors('{}', 0, 3n),
    { what: 'longer than the file', where: 'byte 0', expected: 'at most 2 bytes', got: '3' },
  ],
  [
    'a header of 2^64 - 1 bytes',
    rawSafetensors('{}', 0, 2n ** 64n - 1n),
    { where: 'byte 0', expected: 'at most 2 bytes', got: '18446744073709551615' },
  ],
  ['an empty header', rawSafetensors(''), { where: 'x.safetensors', expected: "'{'", got: '""' }],
  [
    'a header that is not JSON',
    rawSafetensors('{"a":}'),
    { what: 'JSON is malformed', where: 'character 5', expected: 'a value', got: '}' },
  ],
  [
    'a header that ends early',
    rawSafetensors('{"a":{"dtype":"F32"'),
    { where: 'character 19', expected: "',' or '}'", got: 'the end' },
  ],
  [
    'text after the header',
    rawSafetensors('{} x'),
    { where: 'character 3', expected: 'the end', got: '"x"' },
  ],
  ['a header that is an array', rawSafetensors('[]'), { where: 'x.safetensors', expected: "'{'", got: '[]' }],
  [
    'a header with a blank before it',
    rawSafetensors(' {}'),
    { where: 'x.safetensors', expected: "'{'", got: '" {}"' },
  ],
  [
    'a header with a byte order mark',
    rawSafetensors('\ufeff{}'),
    { where: 'x.safetensors', expected: "'{'", got: '{}' },
  ],
  [
    'a header that is not UTF-8',
    rawSafetensors(Uint8Array.of(0x7b, 0xff, 0x7d)),
    { what: 'not UTF-8', where: 'x.safetensors', expected: 'UTF-8', got: 'other bytes' },
  ],
  [
    'a header nested a million deep',
    rawSafetensors(deep(1e6)),
    { what: 'nested too deeply', where: 'character', expected: 'at most 16 levels', got: '[[[' },
  ],
  [
    'a name given twice',
    rawSafetensors(`{${ONE.slice(1, -1)},${ONE.slice(1)}`, 8),
    { what: 'name given twice', where: 'header, character', expected: 'each name once', got: '"a" again' },
  ],
  [
    'a name given twice by an escape',
    rawSafetensors(`{${ONE.slice(1, -1)},${ONE.slice(1).replace('"a"', '"\\u0061"')}`, 8),
    { what: 'name given twice', where: 'character', expected: 'once', got: '"a" again' },
  ],
  [
    'a field given twice',
    rawSafetensors(tensor('"dtype":"F32","dtype":"F32"')),
    { what: 'name given twice', where: 'character', expected: 'once', got: '"dtype" again' },
  ],
  [
    'half a surrogate pair in a name',
    rawSafetensors('{"\\ud800":1}'),
    { where: 'character 1', expected: 'valid escapes', got: 'ud800' },
  ],
  [
    'a tensor that is no object',
    rawSafetensors('{"a":[1]}'),
    { where: 'tensor a', expected: 'an object', got: '[1]' },
  ],
  [
    'an unknown dtype',
    rawSafetensors(headerOf({ a: ['F33', [2], 0, 8] }), 8),
    { what: 'unknown dtype', where: 'x.safetensors, tensor a', expected: 'F32', got: '"F33"' },
  ],
  [
    'a dtype that is an inherited name',
    rawSafetensors(headerOf({ a: ['toString', [2], 0, 8] }), 8),
    { where: 'tensor a', expected: 'F32', got: '"toString"' },
  ],
  [
    'no dtype',
    rawSafetensors(tensor('"shape":[],"data_offsets":[0,4]'), 4),
    { where: 'tensor a', expected: 'F32', got: 'nothing' },
  ],
  [
    'no shape',
    rawSafetensors(tensor('"dtype":"F32","data_offsets":[0,4]'), 4),
    { what: 'shape', where: 'tensor a', expected: 'an array', got: 'nothing' },
  ],
  [
    'a negative size',
    rawSafetensors(headerOf({ a: ['F32', [-2], 0, 8] }), 8),
    { what: 'shape', where: 'tensor a', expected: 'integers from 0', got: '-2' },
  ],
  [
    'a broken size',
    rawSafetensors(headerOf({ a: ['F32', [2.5], 0, 10] }), 10),
    { what: 'shape', where: 'tensor a', expected: 'integers', got: '2.5' },
  ],
  [
    'a size with a point',
    rawSafetensors(tensor('"dtype":"F32","shape":[2.0],"data_offsets":[0,8]'), 8),
    { what: 'shape', where: 'tensor a', expected: 'integers', got: '2.0' },
  ],
  [
    'a size that is a string',
    rawSafetensors(headerOf({ a: ['F32', ['2'], 0, 8] }), 8),
    { what: 'shape', where: 'tensor a', expected: 'integers', got: '"2"' },
  ],
  [
    'a size beyond 2^53',
    rawSafetensors(tensor('"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]'), 1),
    { what: 'shape', where: 'tensor a', expected: '2^53 - 1', got: '9007199254740993' },
  ],
  [
    'a shape that overflows',
    rawSafetensors(headerOf({ a: ['F32', [2 ** 30, 2 ** 30, 0], 0, 0] })),
    {
      what: 'the shape overflows',
      where: 'tensor a',
      expected: '2^53 - 1 bytes',
      got: `[${2 ** 30}, ${2 ** 30}, 0]`,
    },
  ],
  [
    'offsets beyond the file',
    rawSafetensors(ONE, 7),
    {
      what: 'the file ends before',
      where: 'tensor a',
      expected: `a file of ${8 + ONE.length + 8} bytes`,
      got: `${8 + ONE.length + 7} bytes`,
    },
  ],
  [
    'bytes after the last tensor',
    rawSafetensors(ONE, 9),
    {
      what: 'bytes after the last tensor',
      where: `byte ${16 + ONE.length}`,
      expected: `a file of ${16 + ONE.length} bytes`,
      got: `${17 + ONE.length} bytes`,
    },
  ],
  [
    'bytes and no tensor',
    rawSafetensors('{}', 1),
    { what: 'bytes after', where: 'byte 10', expected: 'a file of 10 bytes', got: '11 bytes' },
  ],
  [
    'offsets that run backwards',
    rawSafetensors(headerOf({ a: ['F32', [2], 8, 0] }), 8),
    { what: 'backwards', where: 'tensor a', expected: 'begin <= end', got: '8 > 0' },
  ],
  [
    'a negative offset',
    rawSafetensors(headerOf({ a: ['F32', [2], -8, 0] }), 8),
    { what: 'data_offsets', where: 'tensor a', expected: 'integers from 0', got: '-8' },
  ],
  [
    'three offsets',
    rawSafetensors(tensor('"dtype":"F32","shape":[2],"data_offsets":[0,8,8]'), 8),
    { what: 'no pair', where: 'tensor a', expected: 'two offsets', got: '[0, 8, 8]' },
  ],
  [
    'offsets that do not fit the shape',
    rawSafetensors(headerOf({ a: ['F32', [3], 0, 8] }), 8),
    { what: 'do not fit the shape', where: 'tensor a', expected: '12 bytes for F32 [3]', got: '8 bytes' },
  ],
  [
    'tensors that overlap',
    rawSafetensors(headerOf({ a: ['F32', [2], 0, 8], b: ['F32', [2], 4, 12] }), 12),
    { what: 'overlaps a', where: 'tensor b', expected: 'byte 8, where a ends', got: '4' },
  ],
  [
    'two tensors in one place',
    rawSafetensors(headerOf({ a: ['F32', [2], 0, 8], b: ['F32', [2], 0, 8] }), 8),
    { what: 'overlaps a', where: 'tensor b', expected: 'byte 8', got: '0' },
  ],
  [
    'a hole between tensors',
    rawSafetensors(headerOf({ a: ['F32', [2], 0, 8], b: ['F32', [2], 12, 20] }), 20),
    { what: 'bytes between tensors', where: 'tensor b', expected: 'byte 8, where a ends', got: '12' },
  ],
  [
    'a hole before the first tensor',
    rawSafetensors(headerOf({ a: ['F32', [2], 4, 12] }), 12),
    { what: 'bytes between', where: 'tensor a', expected: 'byte 0, where the header ends', got: '4' },
  ],
  [
    'metadata that is no map of strings',
    rawSafetensors('{"__metadata__":{"n":1}}'),
    { what: 'no map of strings', where: '__metadata__', expected: 'strings', got: 'an object' },
  ],
];
for (const [title, file, parts] of lying) {
  test(`${title}: an error that says what, where, expected and got`, () =>
    rejects(() => open(file), CheckpointError, parts));
}

test.run();
