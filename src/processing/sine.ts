/**
 * Sine and cosine in float64 from additions and multiplications alone. Engines differ in Math.sin's last bit, and the
 * resampling weights decide pixels, so they come from here. Minimax polynomials of fdlibm; error below 1 ulp for |x| ≤ 100.
 */

const TWO_OVER_PI = 0.6366197723675814;
// π/2 in three parts: the first two have 33 bits each, so that n·part is exact for the small n that occur here.
const PIO2_HIGH = 1.5707963267341256;
const PIO2_MIDDLE = 6.077100506303966e-11;
const PIO2_LOW = 2.0222662487959506e-21;

export function sine(x: number): number {
  const { quadrant, high, low } = reduce(x);
  const value = quadrant & 1 ? kernelCosine(high, low) : kernelSine(high, low);
  return quadrant & 2 ? -value : value;
}

export function cosine(x: number): number {
  const { quadrant, high, low } = reduce(x);
  const value = quadrant & 1 ? kernelSine(high, low) : kernelCosine(high, low);
  return (quadrant + 1) & 2 ? -value : value;
}

/** x − quadrant·π/2 as high + low, with |high| ≤ π/4. */
function reduce(x: number): { quadrant: number; high: number; low: number } {
  const n = Math.round(x * TWO_OVER_PI);
  const first = x - n * PIO2_HIGH;
  const middle = n * PIO2_MIDDLE;
  const second = first - middle;
  const tail = n * PIO2_LOW - (first - second - middle);
  const high = second - tail;
  return { quadrant: n & 3, high, low: second - high - tail };
}

function kernelSine(x: number, low: number): number {
  const z = x * x;
  const v = z * x;
  const r =
    0.00833333333332249 +
    z *
      (-0.0001984126982985795 +
        z * (2.7557313707070068e-6 + z * (-2.5050760253406863e-8 + z * 1.58969099521155e-10)));
  return x - (z * (0.5 * low - v * r) - low - v * -0.16666666666666632);
}

function kernelCosine(x: number, low: number): number {
  const z = x * x;
  const r =
    z *
    (0.0416666666666666 +
      z *
        (-0.001388888888887411 +
          z *
            (2.480158728947673e-5 +
              z * (-2.7557314351390663e-7 + z * (2.087572321298175e-9 + z * -1.1359647557788195e-11)))));
  const half = 0.5 * z;
  const w = 1 - half;
  return w + (1 - w - half + (z * r - x * low));
}
