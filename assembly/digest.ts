/** Which tile is which: a keyed 128-bit digest of memory. */

/** The state of SipHash. */
let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

/** SipHash-2-4 with 128 bits of output (Aumasson and Bernstein): x is `bytes` long, key and out are two u64 each. */
export function u128_siphash(out: usize, x: usize, bytes: usize, key: usize): void {
  const k0 = load<u64>(key);
  const k1 = load<u64>(key + 8);
  // Locals: the loop keeps them in registers, which globals are not.
  let a: u64 = 0x736f6d6570736575 ^ k0;
  let b: u64 = 0x646f72616e646f6d ^ k1 ^ 0xee;
  let c: u64 = 0x6c7967656e657261 ^ k0;
  let d: u64 = 0x7465646279746573 ^ k1;
  const end = x + (bytes & ~7);
  for (; x < end; x += 8) {
    const word = load<u64>(x);
    d ^= word;
    a += b; b = rotl(b, 13) ^ a; a = rotl(a, 32);
    c += d; d = rotl(d, 16) ^ c;
    a += d; d = rotl(d, 21) ^ a;
    c += b; b = rotl(b, 17) ^ c; c = rotl(c, 32);
    a += b; b = rotl(b, 13) ^ a; a = rotl(a, 32);
    c += d; d = rotl(d, 16) ^ c;
    a += d; d = rotl(d, 21) ^ a;
    c += b; b = rotl(b, 17) ^ c; c = rotl(c, 32);
    a ^= word;
  }
  // The last word: what is left, and the length's low byte on top.
  let last: u64 = (bytes as u64) << 56;
  for (let i: usize = 0; i < (bytes & 7); i++) last |= (load<u8>(x + i) as u64) << ((i as u64) << 3);
  v0 = a;
  v1 = b;
  v2 = c;
  v3 = d ^ last;
  rounds(2);
  v0 ^= last;
  v2 ^= 0xee;
  rounds(4);
  store<u64>(out, v0 ^ v1 ^ v2 ^ v3);
  v1 ^= 0xdd;
  rounds(4);
  store<u64>(out + 8, v0 ^ v1 ^ v2 ^ v3);
}

function rounds(count: i32): void {
  for (let i = 0; i < count; i++) {
    v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32);
    v2 += v3; v3 = rotl(v3, 16) ^ v2;
    v0 += v3; v3 = rotl(v3, 21) ^ v0;
    v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32);
  }
}
