import { type Dtype, decode, toBfloat16, toFloat16 } from '../checkpoint/dtypes.js';
import type { SafetensorsFile, TensorInfo } from '../checkpoint/safetensors.js';
import { CheckpointError, InputError } from '../errors.js';
import type { ForwardInputs } from '../model/forward.js';
import type { LogitsToKeep } from '../model/head.js';
import type { HostData, HostTensor } from '../runtime/tensor.js';

/** The keyword arguments of the reference's forward call, as the file has them. */
export interface GoldenInputs {
  readonly forward: Omit<ForwardInputs, 'past_key_values'>;
  /** [B, S]. */
  readonly labels?: HostTensor;
  readonly logits_to_keep: LogitsToKeep;
  readonly batch: number;
  readonly sequence: number;
}

type Kind = 'integers' | 'reals' | 'mask';

const KINDS: Readonly<Record<string, Kind>> = {
  input_ids: 'integers',
  attention_mask: 'mask',
  position_ids: 'integers',
  inputs_embeds: 'reals',
  pixel_values: 'reals',
  pixel_attention_mask: 'mask',
  image_hidden_states: 'reals',
  labels: 'integers',
  logits_to_keep: 'integers',
  cache_position: 'integers',
};

const DTYPES: Readonly<Record<Kind, readonly string[]>> = {
  integers: ['I64', 'I32', 'I16', 'I8', 'U8', 'U16', 'U32', 'U64'],
  reals: ['F32', 'F64', 'F16', 'BF16'],
  mask: ['I64', 'I32', 'I16', 'I8', 'U8', 'U16', 'U32', 'U64', 'BOOL', 'F32', 'F64', 'F16', 'BF16'],
};

const PREFIX = 'inputs.';

/**
 * @throws CheckpointError for an input of another dtype than its kind takes, or a file without tokens
 * @throws InputError for an input that the runtime does not know, or a cache_position other than 0 … S − 1
 */
export async function readInputs(file: SafetensorsFile, signal?: AbortSignal): Promise<GoldenInputs> {
  const inputs: Record<string, HostTensor> = {};
  for (const info of file.tensors.values()) {
    if (!info.name.startsWith(PREFIX)) continue;
    const name = info.name.slice(PREFIX.length);
    inputs[name] = await readInput(file, name, info, signal);
  }
  const tokens = inputs.input_ids ?? inputs.inputs_embeds;
  if (!tokens) {
    const [what, expected] = ['no tokens in the golden', 'inputs.input_ids or inputs.inputs_embeds'];
    throw new CheckpointError({ what, where: file.name, expected, got: 'neither' });
  }
  const [batch = 0, sequence = 0] = tokens.dims;
  const { labels, logits_to_keep, cache_position, ...forward } = inputs;
  checkCachePosition(file, cache_position, sequence);
  return { forward, labels, logits_to_keep: logitsToKeep(logits_to_keep), batch, sequence };
}

async function readInput(
  file: SafetensorsFile,
  name: string,
  info: TensorInfo,
  signal?: AbortSignal,
): Promise<HostTensor> {
  const where = `${file.name}, tensor ${info.name}`;
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (!kind) {
    const expected = `one of ${Object.keys(KINDS).join(', ')}`;
    throw new InputError({ what: 'an input that the runtime does not take', where, expected, got: name });
  }
  if (!DTYPES[kind].includes(info.dtype)) {
    const expected = DTYPES[kind].join(', ');
    throw new CheckpointError({ what: 'wrong dtype', where, expected, got: info.dtype });
  }
  const { data, shape } = await file.readTensor(info.name, signal);
  if (kind === 'reals')
    return { dims: shape, data: asSeen(data as Float32Array, file.metadata.get('dtype')) };
  if (data instanceof BigUint64Array) return { dims: shape, data: BigInt64Array.from(data) };
  return { dims: shape, data: data as HostData };
}

/** Real inputs as torch computed with them: a run in half precision rounds them first. */
function asSeen(values: Float32Array, dtype: string | undefined): Float32Array {
  const round = ROUND[dtype?.replace(/^torch\./, '') ?? ''];
  return round ? decodeHalf(Uint16Array.from(values, round.bits), round.dtype) : Float32Array.from(values);
}

const ROUND: Readonly<Record<string, { bits: (value: number) => number; dtype: Dtype } | undefined>> = {
  float16: { bits: toFloat16, dtype: 'F16' },
  bfloat16: { bits: toBfloat16, dtype: 'BF16' },
};

function decodeHalf(bits: Uint16Array<ArrayBuffer>, dtype: Dtype): Float32Array {
  return decode(dtype, new Uint8Array(bits.buffer)) as Float32Array;
}

/** A number says how many of the last columns, a list which columns. */
function logitsToKeep(tensor: HostTensor | undefined): LogitsToKeep {
  if (!tensor) return 0;
  return tensor.dims.length === 0 ? Number(tensor.data[0]) : Array.from(tensor.data as Int32Array, Number);
}

function checkCachePosition(
  file: SafetensorsFile,
  positions: HostTensor | undefined,
  sequence: number,
): void {
  if (!positions) return;
  const counts = Array.from(positions.data as Int32Array, Number);
  if (counts.length === sequence && counts.every((position, i) => position === i)) return;
  throw new InputError({
    what: 'only a run from an empty cache is implemented',
    where: `${file.name}, tensor ${PREFIX}cache_position`,
    expected: `0 … ${sequence - 1}`,
    got: counts.slice(0, 4).join(', ') + (counts.length > 4 ? `, … (${counts.length})` : ''),
  });
}
