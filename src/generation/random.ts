/**
 * The generator that sampling draws from: xoshiro128** (Blackman and Vigna), the same on every engine.
 *
 * Seeding: five words — the seed's low and high 32 bits, the prompt row, the sequence of that row, and 0 — go one after
 * the other into h = mix(h ^ word) + 0x9e3779b9, from h = 0; the four words of the state are then mix(h + i·0x9e3779b9)
 * for i = 1 … 4, where mix is MurmurHash3's 32-bit finalizer. So every sequence has a stream of its own, and what is drawn
 * beside it does not move it. `float64` is 53 bits of two draws: (a >>> 5)·2^26 + (b >>> 6), times 2^-53.
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /**
   * @param seed an integer from 0 to 2^53 − 1
   * @param row which prompt row
   * @param sequence which of the sequences made from that row
   */
  constructor(seed: number, row = 0, sequence = 0) {
    let h = 0;
    for (const word of [seed % 2 ** 32, Math.floor(seed / 2 ** 32), row, sequence, 0]) {
      h = (mix(h ^ word) + GOLDEN) | 0;
    }
    for (let i = 0; i < 4; i++) this.#state[i] = mix((h + Math.imul(i + 1, GOLDEN)) | 0);
    // The one state that it would never leave.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return result;
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  float64(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) * 2 ** -53;
  }
}

const GOLDEN = 0x9e3779b9 | 0;

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

/** A seed for runs that were given none. */
export function freshSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}
