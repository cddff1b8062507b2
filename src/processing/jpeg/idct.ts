/**
 * The accurate integer inverse DCT that libjpeg calls "islow": 13 fractional bits in the constants, 2 more kept between
 * the passes. All sums fit 32 bits for 8-bit pictures. Exactly libjpeg's results, so JPEGs have Pillow's pixels.
 */

const CONST_BITS = 13;
const PASS1_BITS = 2;
const F_0_298631336 = 2446;
const F_0_390180644 = 3196;
const F_0_541196100 = 4433;
const F_0_765366865 = 6270;
const F_0_899976223 = 7373;
const F_1_175875602 = 9633;
const F_1_501321110 = 12299;
const F_1_847759065 = 15137;
const F_1_961570560 = 16069;
const F_2_053119869 = 16819;
const F_2_562915447 = 20995;
const F_3_072711026 = 25172;

const workspace = new Int32Array(64);
const line = new Int32Array(8);

/**
 * One 8×8 block: `coefficients[at … at+64)` in natural order times `quantisation`, to samples 0…255 at
 * `samples[to + y·stride + x]`.
 */
export function inverseDct(
  coefficients: Int16Array,
  at: number,
  quantisation: Uint16Array,
  samples: Uint8Array,
  to: number,
  stride: number,
): void {
  for (let x = 0; x < 8; x++) {
    for (let y = 0; y < 8; y++) line[y] = coefficients[at + y * 8 + x] * quantisation[y * 8 + x];
    transform(CONST_BITS - PASS1_BITS);
    for (let y = 0; y < 8; y++) workspace[y * 8 + x] = line[y];
  }
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 8; x++) line[x] = workspace[y * 8 + x];
    transform(CONST_BITS + PASS1_BITS + 3);
    const row = to + y * stride;
    for (let x = 0; x < 8; x++) {
      const sample = line[x] + 128;
      samples[row + x] = sample < 0 ? 0 : Math.min(sample, 255);
    }
  }
}

/** The one-dimensional transform of `line` in place, each result divided by 2^bits and rounded. */
function transform(bits: number): void {
  const half = 1 << (bits - 1);
  const i1 = line[1];
  const i2 = line[2];
  const i3 = line[3];
  const i5 = line[5];
  const i6 = line[6];
  const i7 = line[7];
  const shared = (i2 + i6) * F_0_541196100;
  const even2 = shared - i6 * F_1_847759065;
  const even3 = shared + i2 * F_0_765366865;
  const even0 = (line[0] + line[4]) << CONST_BITS;
  const even1 = (line[0] - line[4]) << CONST_BITS;

  const z5 = (i7 + i3 + i5 + i1) * F_1_175875602;
  const z1 = (i7 + i1) * -F_0_899976223;
  const z2 = (i5 + i3) * -F_2_562915447;
  const z3 = (i7 + i3) * -F_1_961570560 + z5;
  const z4 = (i5 + i1) * -F_0_390180644 + z5;
  const odd0 = i7 * F_0_298631336 + z1 + z3;
  const odd1 = i5 * F_2_053119869 + z2 + z4;
  const odd2 = i3 * F_3_072711026 + z2 + z3;
  const odd3 = i1 * F_1_501321110 + z1 + z4;

  line[0] = (even0 + even3 + odd3 + half) >> bits;
  line[7] = (even0 + even3 - odd3 + half) >> bits;
  line[1] = (even1 + even2 + odd2 + half) >> bits;
  line[6] = (even1 + even2 - odd2 + half) >> bits;
  line[2] = (even1 - even2 + odd1 + half) >> bits;
  line[5] = (even1 - even2 - odd1 + half) >> bits;
  line[3] = (even0 - even3 + odd0 + half) >> bits;
  line[4] = (even0 - even3 - odd0 + half) >> bits;
}
