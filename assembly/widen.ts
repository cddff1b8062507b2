/** Exact conversions of stored 16-bit weights to float32, four lanes at a time. */

/** Constants lie in memory because V8 builds a splat anew at every use. */
/** The halves of words that bfloat16 values are. */
export const UPPER_HALF: usize = memory.data<u32>([0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000], 16);
const F16_BITS: usize = memory.data<u32>([0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000], 16);
const F16_MAGNITUDE: usize = memory.data<u32>([0x0fffe000, 0x0fffe000, 0x0fffe000, 0x0fffe000], 16);
const F16_SPECIAL: usize = memory.data<u32>([0x0f7fffff, 0x0f7fffff, 0x0f7fffff, 0x0f7fffff], 16);
const F16_SCALE: usize = memory.data<u32>([0x77800000, 0x77800000, 0x77800000, 0x77800000], 16);
const F32_SPECIAL: usize = memory.data<u32>([0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000], 16);

/** How a panel's elements are stored. */
export const F32: i32 = 0;
export const BF16: i32 = 1;
export const F16: i32 = 2;

/** Four of the eight weights at w as float32: those of the first or second half. */
// @ts-ignore: decorator
@inline
export function weights4(dtype: i32, w: usize, half: usize): v128 {
  if (dtype == F32) return v128.load(w + half * 16);
  if (dtype == BF16) return bf16x4(w + half * 8);
  return f16x4(w + half * 8);
}

/** Four bfloat16 values: the upper halves of the float32 values. */
// @ts-ignore: decorator
@inline
export function bf16x4(ptr: usize): v128 {
  return i32x4.shl(v128.load16x4_u(ptr), 16);
}

/**
 * Four float16 values. Sign-extended and moved up by 13, exponent and mantissa are in float32's places with the
 * exponent 112 too small; multiplying by 2^112 corrects that exactly, subnormals included. An exponent of all ones
 * (infinity, NaN) has to become all ones again.
 */
// @ts-ignore: decorator
@inline
export function f16x4(ptr: usize): v128 {
  const bits = v128.and(i32x4.shl(v128.load16x4_s(ptr), 13), v128.load(F16_BITS));
  const special = i32x4.gt_s(v128.and(bits, v128.load(F16_MAGNITUDE)), v128.load(F16_SPECIAL));
  return v128.or(f32x4.mul(bits, v128.load(F16_SCALE)), v128.and(special, v128.load(F32_SPECIAL)));
}

// @ts-ignore: decorator
@inline
export function bf16(ptr: usize): f32 {
  return reinterpret<f32>(<u32>load<u16>(ptr) << 16);
}

// @ts-ignore: decorator
@inline
export function f16(ptr: usize): f32 {
  const half = <u32>load<u16>(ptr);
  const magnitude = (half & 0x7fff) << 13;
  let value = reinterpret<u32>(reinterpret<f32>(magnitude) * reinterpret<f32>(0x77800000));
  if (magnitude >= 0x0f800000) value |= 0x7f800000;
  return reinterpret<f32>(value | ((half & 0x8000) << 16));
}
