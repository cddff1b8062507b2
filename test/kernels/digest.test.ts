import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { area, checkGuards, kernels, random, reset } from './harness.js';

const MASK = (1n << 64n) - 1n;
const rotate = (x: bigint, by: bigint) => ((x << by) | (x >> (64n - by))) & MASK;

/** SipHash-2-4-128 in big integers, from the paper. */
function sipHash(message: Uint8Array, key: Uint8Array): string {
  const word = (bytes: Uint8Array, at: number) =>
    Array.from(bytes.subarray(at, at + 8)).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const [k0, k1] = [word(key, 0), word(key, 8)];
  const v = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v[0] = (v[0]! + v[1]!) & MASK;
      v[1] = rotate(v[1]!, 13n) ^ v[0];
      v[0] = rotate(v[0], 32n);
      v[2] = (v[2]! + v[3]!) & MASK;
      v[3] = rotate(v[3]!, 16n) ^ v[2];
      v[0] = (v[0] + v[3]) & MASK;
      v[3] = rotate(v[3], 21n) ^ v[0];
      v[2] = (v[2] + v[1]) & MASK;
      v[1] = rotate(v[1], 17n) ^ v[2];
      v[2] = rotate(v[2], 32n);
    }
  };
  const whole = message.length & ~7;
  const last = new Uint8Array(8);
  last.set(message.subarray(whole));
  last[7] = message.length;
  for (let at = 0; at <= whole; at += 8) {
    const m = at < whole ? word(message, at) : word(last, 0);
    v[3] = v[3]! ^ m;
    rounds(2);
    v[0] = v[0]! ^ m;
  }
  v[2] = v[2]! ^ 0xeen;
  rounds(4);
  const low = v[0]! ^ v[1]! ^ v[2]! ^ v[3]!;
  v[1] = v[1]! ^ 0xddn;
  rounds(4);
  return hex(new Uint8Array(new BigUint64Array([low, v[0]! ^ v[1]! ^ v[2]! ^ v[3]!]).buffer));
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function digest(message: Uint8Array, key: Uint8Array, offset = 0): string {
  reset();
  const at = (bytes: Uint8Array, shift = 0) => {
    const { ptr, f32 } = area(Math.ceil((bytes.length + shift) / 4) + 1);
    new Uint8Array(f32.buffer, ptr + shift, bytes.length).set(bytes);
    return ptr + shift;
  };
  const out = area(4);
  kernels.u128_siphash(out.ptr, at(message, offset), message.length, at(key));
  checkGuards(`${message.length} bytes`);
  return hex(new Uint8Array(out.f32.buffer, out.ptr, 16));
}

const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i);

test('siphash: the published test vectors of SipHash-2-4-128', () => {
  assert.is(digest(counting(0), counting(16)), 'a3817f04ba25a8e66df67214c7550293');
  assert.is(digest(counting(1), counting(16)), 'da87c1d86b99af44347659119b22fc45');
});

test('siphash: what big integers give, at every length to 40, every alignment, and for a long message', () => {
  const next = random(7);
  const bytes = (length: number) => Uint8Array.from({ length }, () => 256 * next());
  for (let length = 0; length <= 40; length++) {
    const message = bytes(length);
    const key = bytes(16);
    assert.is(digest(message, key, length % 8), sipHash(message, key), `${length} bytes`);
  }
  const long = bytes(5003);
  assert.is(digest(long, counting(16)), sipHash(long, counting(16)));
});

test('siphash: one bit of message or key anywhere changes the digest', () => {
  const message = counting(37);
  const key = counting(16);
  const seen = new Set([digest(message, key)]);
  for (const bytes of [message, key]) {
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      seen.add(digest(message, key));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
  assert.is(seen.size, 1 + 8 * (37 + 16));
});

test.run();
