/** Pictures as torch holds them, channels first, in the dtypes that may arrive. */
import { InputError } from '../../errors.js';
import { byRows, type Steps } from '../paced.js';

/** uint8 and uint16 levels, or float32 values of any range. */
export type PlaneData = Uint8Array | Uint16Array | Float32Array;

/** `data[(c·height + y)·width + x]`. */
export interface Planes {
  data: PlaneData;
  channels: number;
  height: number;
  width: number;
}

export type ChannelFormat = 'channels_first' | 'channels_last' | 'none';

/** Numbers with a shape, as a NumPy array or torch tensor has it: [H, W], [C, H, W] or [H, W, C]. */
export interface ArrayInput {
  data: Uint8Array | Uint8ClampedArray | Uint16Array | Float32Array | Float64Array;
  dims: readonly number[];
}

export function isArrayInput(value: unknown): value is ArrayInput {
  return typeof value === 'object' && value !== null && Array.isArray((value as { dims?: unknown }).dims);
}

/** An empty array of the same dtype. */
export function likeData(data: PlaneData, length: number): PlaneData {
  if (data instanceof Float32Array) return new Float32Array(length);
  return data instanceof Uint16Array ? new Uint16Array(length) : new Uint8Array(length);
}

/** Throws InputError unless `data` is of a known dtype and as long as `dims` says. */
export function checkArray({ data, dims }: ArrayInput, where: string): PlaneData {
  const known =
    data instanceof Uint8Array ||
    data instanceof Uint8ClampedArray ||
    data instanceof Uint16Array ||
    data instanceof Float32Array ||
    data instanceof Float64Array;
  if (!known) {
    throw new InputError({
      what: 'unknown dtype of pixels',
      where,
      expected: 'Uint8Array, Uint8ClampedArray, Uint16Array, Float32Array or Float64Array',
      got: Object.prototype.toString.call(data),
    });
  }
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (!dims.every((dim) => Number.isInteger(dim) && dim >= 1) || data.length !== size) {
    throw new InputError({
      what: 'pixels do not fit their dims',
      where,
      expected: `${dims.join('×')} = ${size} values, every dim at least 1`,
      got: `${data.length} values`,
    });
  }
  if (data instanceof Float64Array) return new Float32Array(data);
  if (data instanceof Uint8ClampedArray) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  return data;
}

/**
 * `infer_channel_dimension_format` on the three dims of a picture: channels first if the first dim may be a number of
 * channels, even where the last one may be too. Throws InputError where neither may.
 */
export function inferChannelFormat(
  first: number,
  last: number,
  where: string,
): 'channels_first' | 'channels_last' {
  const possible = [1, 3];
  if (possible.includes(first)) return 'channels_first';
  if (possible.includes(last)) return 'channels_last';
  throw new InputError({
    what: 'channel dimension cannot be inferred',
    where,
    expected: '1 or 3 channels in the first or the last dim, or input_data_format',
    got: `${first} and ${last}`,
  });
}

/** One picture given as an array. */
export function* planesOfArray(
  array: ArrayInput,
  format: ChannelFormat | undefined,
  where: string,
): Steps<Planes> {
  const data = checkArray(array, where);
  const { dims } = array;
  if (dims.length === 2 && (format === undefined || format === 'none')) {
    return { data, channels: 1, height: dims[0], width: dims[1] };
  }
  if (dims.length !== 3 || format === 'none') {
    throw new InputError({
      what: 'not the dims of a picture',
      where,
      expected: format === 'none' ? '[height, width]' : '[C, H, W], [H, W, C] or [H, W]',
      got: `[${dims.join(', ')}]`,
    });
  }
  if ((format ?? inferChannelFormat(dims[0], dims[2], where)) === 'channels_last') {
    return yield* planesOfInterleaved(data, dims[0], dims[1], dims[2]);
  }
  return { data, channels: dims[0], height: dims[1], width: dims[2] };
}

/** [H, W, C] to [C, H, W]. */
export function* planesOfInterleaved(
  data: PlaneData,
  height: number,
  width: number,
  channels: number,
): Steps<Planes> {
  const out = likeData(data, data.length);
  const plane = height * width;
  for (let c = 0; c < channels; c++) {
    yield* byRows(plane, 1, (first, end) => takePlane(data, channels, c, out, c * plane, first, end));
  }
  return { data: out, channels, height, width };
}

function takePlane(
  data: PlaneData,
  channels: number,
  channel: number,
  out: PlaneData,
  at: number,
  first: number,
  end: number,
): void {
  for (let i = first, from = first * channels + channel; i < end; i++, from += channels)
    out[at + i] = data[from];
}

/** `channels` planes from the first `channels` ones, or from a single one repeated. */
export function takeChannels(planes: Planes, channels: number): Planes {
  if (planes.channels === channels) return planes;
  const plane = planes.height * planes.width;
  if (planes.channels > channels) {
    return { ...planes, channels, data: planes.data.subarray(0, channels * plane) };
  }
  const data = likeData(planes.data, channels * plane);
  for (let c = 0; c < channels; c++) data.set(planes.data.subarray(0, plane), c * plane);
  return { ...planes, channels, data };
}

/** [a, b, C, H, W] as [a, b, H, W, C]. */
export function* channelsLastTensor(
  data: Float32Array,
  [a, b, channels, height, width]: readonly [number, number, number, number, number],
): Steps<{ data: Float32Array; dims: [number, number, number, number, number] }> {
  const out = new Float32Array(data.length);
  const plane = height * width;
  for (let image = 0; image < data.length; image += channels * plane) {
    for (let c = 0; c < channels; c++) {
      yield* byRows(plane, 1, (from, to) => {
        for (let i = from; i < to; i++) out[image + i * channels + c] = data[image + c * plane + i];
      });
    }
  }
  return { data: out, dims: [a, b, height, width, channels] };
}
