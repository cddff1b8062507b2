/**
 * Sine and cosine in float64 from additions and multiplications alone. Engines differ in Math.sin's last bit, and the
 * resampling weights decide pixels, so they come from here. Minimax polynomials of fdlibm; error below 1 ulp for |x| ≤ 100.
 */

const TWO_OVER_PI = 6.36619772367581382433e-1;
// π/2 in three parts: the first two have 33 bits each, so that n·part is exact for the small n that occur here.
const PIO2_HIGH = 1.57079632673412561417;
const PIO2_MIDDLE = 6.07710050630396597660e-11;
const PIO2_LOW = 2.02226624879595063154e-21;

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
    8.33333333332248946124e-3 +
    z *
      (-1.98412698298579493134e-4 +
        z *
          (2.75573137070700676789e-6 + z * (-2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)));
  return x - (z * (0.5 * low - v * r) - low - v * -1.66666666666666324348e-1);
}

function kernelCosine(x: number, low: number): number {
  const z = x * x;
  const r =
    z *
    (4.16666666666666019037e-2 +
      z *
        (-1.38888888888741095749e-3 +
          z *
            (2.48015872894767294178e-5 +
              z *
                (-2.75573143513906633035e-7 + z * (2.08757232129817482790e-9 + z * -1.13596475577881948265e-11)))));
  const half = 0.5 * z;
  const w = 1 - half;
  return w + (1 - w - half + (z * r - x * low));
}
