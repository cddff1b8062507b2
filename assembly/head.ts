/** What is read off a row of logits. */

/** The index of the largest of n values, the lowest on ties; −1 if any is NaN or there are none. */
export function f32_argmax(x: usize, n: usize): i32 {
  if (n == 0) return -1;
  const top = largest(x, n);
  // A NaN anywhere makes the maximum NaN, which equals nothing.
  for (let i: usize = 0; i < n; i++) if (load<f32>(x + (i << 2)) == top) return <i32>i;
  return -1;
}

/** −log softmax(x)[label], in float64. */
export function f64_cross_entropy(x: usize, n: usize, label: usize): f64 {
  const top = <f64>largest(x, n);
  let sum: f64 = 0;
  for (let i: usize = 0; i < n; i++) sum += NativeMath.exp(<f64>load<f32>(x + (i << 2)) - top);
  return NativeMath.log(sum) - (<f64>load<f32>(x + (label << 2)) - top);
}

/** The maximum of n >= 1 values, NaN if any is NaN. */
function largest(x: usize, n: usize): f32 {
  let top4 = v128.load_splat<f32>(x);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) top4 = f32x4.max(top4, v128.load(x + (i << 2)));
  let top = max(
    max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1)),
    max(f32x4.extract_lane(top4, 2), f32x4.extract_lane(top4, 3)),
  );
  for (; i < n; i++) top = max(top, load<f32>(x + (i << 2)));
  return top;
}
