/** As onnxruntime.quantization does it: QInt8 weights, one symmetric scale a tensor. */
export function quantizeDynamic8(values: Float32Array): { data: Int8Array; scale: number } {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const scale = Math.fround(largest / 127) || 1;
  return {
    data: Int8Array.from(values, (value) => Math.max(-127, Math.min(127, Math.round(value / scale)))),
    scale,
  };
}

/**
 * MatMulNBits' layout: per row, blocks of 32 along K, two values a byte (the even one low), a scale a block, and 8 as the
 * zero point: the value of the largest magnitude becomes −8.
 */
export function quantizeBlocks4(
  values: Float32Array,
  N: number,
  K: number,
): { data: Uint8Array; scales: Float32Array } {
  const data = new Uint8Array((N * K) / 2);
  const scales = new Float32Array((N * K) / 32);
  for (let block = 0; block < scales.length; block++) {
    const at = block * 32;
    let extreme = 0;
    for (let i = at; i < at + 32; i++) if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i];
    const scale = extreme / -8;
    scales[block] = scale;
    for (let i = at; i < at + 32; i++) {
      const level = scale === 0 ? 8 : Math.max(0, Math.min(15, Math.round(values[i] / scale) + 8));
      data[i >> 1] |= level << (4 * (i & 1));
    }
  }
  return { data, scales };
}
