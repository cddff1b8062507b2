/** The dtypes of the safetensors format that take whole bytes, and their sizes in bytes. */
export const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  C64: 8,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPE_BYTES, name);
}

/** Values of a tensor: F16 and BF16 come as float32 (exact), BOOL as bytes. */
export type TensorValues =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** Little-endian bytes (at offset 0 of their buffer) as values; undefined for a dtype without a JavaScript form. */
export function decode(dtype: Dtype, bytes: Uint8Array<ArrayBuffer>): TensorValues | undefined {
  const buffer = bytes.buffer;
  switch (dtype) {
    case 'F64':
      return new Float64Array(buffer);
    case 'F32':
      return new Float32Array(buffer);
    case 'F16':
      return widen(new Uint16Array(buffer), float16Bits);
    case 'BF16':
      return widen(new Uint16Array(buffer), (bits) => bits << 16);
    case 'I64':
      return new BigInt64Array(buffer);
    case 'U64':
      return new BigUint64Array(buffer);
    case 'I32':
      return new Int32Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'U16':
      return new Uint16Array(buffer);
    case 'I8':
      return new Int8Array(buffer);
    case 'U8':
    case 'BOOL':
      return bytes;
    default:
      return undefined;
  }
}

function widen(source: Uint16Array, toBits: (bits: number) => number): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(source.length);
  for (let i = 0; i < source.length; i++) bits[i] = toBits(source[i]);
  return new Float32Array(bits.buffer);
}

/** float32 bits of the float16 value with these bits; exact, subnormals, infinities and NaN included. */
export function float16Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  let mantissa = half & 0x3ff;
  if (exponent === 31) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent > 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  // A subnormal is normal in float32: its leading one becomes the implicit one.
  const shift = Math.clz32(mantissa) - 21;
  mantissa = (mantissa << shift) & 0x3ff;
  return (sign | ((113 - shift) << 23) | (mantissa << 13)) >>> 0;
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** bfloat16 bits of a value: rounded to float32, then to nearest, ties to even; NaN stays NaN. */
export function toBfloat16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0];
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** float16 bits of a value: rounded to float32, then to nearest, ties to even; NaN stays NaN. */
export function toFloat16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112;
  const mantissa = bits & 0x7fffff;
  if (exponent >= 31) {
    if (Number.isNaN(value)) return sign | 0x7e00 | (mantissa >>> 13);
    return sign | 0x7c00;
  }
  if (exponent > 0) return sign + roundShift((exponent << 23) | mantissa, 13);
  if (exponent < -10) return sign;
  return sign + roundShift(mantissa | 0x800000, 14 - exponent);
}

/** value / 2^shift to the nearest integer, ties to even. */
function roundShift(value: number, shift: number): number {
  const quotient = value >>> shift;
  const rest = value - quotient * 2 ** shift;
  const half = 2 ** (shift - 1);
  return quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0);
}
