/** Sessions as files: safetensors, the conversation in the metadata, pictures and other arrays as tensors. */
import type { Dtype } from '../checkpoint/dtypes.js';
import { openSafetensors, type SafetensorsFile } from '../checkpoint/safetensors.js';
import { writeSafetensors } from '../checkpoint/safetensors-writer.js';
import { bytesSource } from '../checkpoint/source.js';
import { CheckpointError, InputError } from '../errors.js';
import type { SavedPrefix } from '../modeling.js';
import { type ChatMessage, normalizeMessages } from '../processing/index.js';
import type { AnswerOptions } from './ask.js';
import type { SessionOptions } from './session.js';

const FORMAT = 'smolvlm-session/1';
/** Stands in the JSON for an array, which is a tensor of this name. */
const TENSOR = '$tensor';
/** Tensors of what was computed: tokens, and their keys and values. */
const IDS = 'prefix.ids';
const SLABS = 'prefix.slabs';

const DTYPES: readonly (readonly [Dtype, new (buffer: ArrayBuffer) => ArrayBufferView])[] = [
  ['U8', Uint8Array],
  ['U8', Uint8ClampedArray],
  ['U16', Uint16Array],
  ['F32', Float32Array],
  ['F64', Float64Array],
  ['I32', Int32Array],
];

/** @throws InputError, naming the place, for what no file can hold: functions and open sources among the pieces */
export async function saveSession(
  messages: readonly ChatMessage[],
  options: AnswerOptions,
  prefix?: SavedPrefix,
): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = new Map<string, { dtype: Dtype; shape: number[]; data: Uint8Array }>();
  const names = new Map<object, string>();
  const put = (array: ArrayBufferView, dtype: Dtype, length: number, of: object): object => {
    const known = names.get(of);
    if (known !== undefined) return { [TENSOR]: known };
    const name = `arrays.${tensors.size}`;
    const data = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    tensors.set(name, { dtype, shape: [length], data });
    names.set(of, name);
    return { [TENSOR]: name };
  };
  const plain = async (value: unknown, where: string): Promise<unknown> => {
    if (value instanceof URL) return value.href;
    if (value instanceof Blob) return put(new Uint8Array(await value.arrayBuffer()), 'U8', value.size, value);
    if (value instanceof ArrayBuffer) return put(new Uint8Array(value), 'U8', value.byteLength, value);
    const dtype = DTYPES.find(([, Type]) => value instanceof Type)?.[0];
    if (dtype) return put(value as ArrayBufferView, dtype, (value as Uint8Array).length, value as object);
    if (Array.isArray(value)) {
      return Promise.all(value.map((entry, i) => plain(entry, `${where}[${i}]`)));
    }
    if (typeof value === 'function' || typeof value === 'bigint' || typeof value === 'symbol') {
      const expected = 'texts, numbers, lists, objects, bytes and arrays';
      throw new InputError({ what: 'cannot be saved', where, expected, got: `a ${typeof value}` });
    }
    if (typeof value !== 'object' || value === null) return value;
    const fields = Object.entries(value).map(async ([key, entry]) => [
      key,
      await plain(entry, `${where}.${key}`),
    ]);
    return Object.fromEntries(await Promise.all(fields));
  };
  const session = {
    messages: await plain(messages, 'messages'),
    options: await plain(options, 'options'),
  };
  const metadata: Record<string, string> = { format: FORMAT, session: JSON.stringify(session) };
  if (prefix) {
    const { fingerprint, ids, slabs } = prefix;
    metadata.fingerprint = fingerprint;
    const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
    tensors.set(IDS, { dtype: 'I32', shape: [ids.length], data: bytes });
    tensors.set(SLABS, { dtype: 'U8', shape: [slabs.length], data: slabs });
  }
  return writeSafetensors(tensors, metadata);
}

/** @throws CheckpointError for bytes that are no saved session */
export async function readSession(
  bytes: Uint8Array,
  signal?: AbortSignal,
): Promise<SessionOptions & { prefix?: SavedPrefix }> {
  const file = await openSafetensors(bytesSource(bytes, 'session'), signal);
  const format = file.metadata.get('format');
  if (format !== FORMAT) throw damaged('__metadata__.format', FORMAT, format ?? 'none');
  const arrays = new Map<string, unknown>();
  for (const name of file.tensors.keys()) arrays.set(name, (await file.readTensor(name, signal)).data);
  const { messages, options } = parse(file, arrays);
  const prefix = prefixOf(file, arrays);
  if (messages.length === 0) return { ...options, messages };
  try {
    return { ...options, messages: normalizeMessages(messages), prefix };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw damaged(error.where, error.expected ?? 'messages', error.got ?? error.what);
  }
}

function prefixOf(
  { metadata }: SafetensorsFile,
  arrays: ReadonlyMap<string, unknown>,
): SavedPrefix | undefined {
  const fingerprint = metadata.get('fingerprint');
  if (fingerprint === undefined) return undefined;
  const [ids, slabs] = [arrays.get(IDS), arrays.get(SLABS)];
  if (!(ids instanceof Int32Array)) throw damaged(IDS, 'I32', 'none');
  if (!(slabs instanceof Uint8Array)) throw damaged(SLABS, 'U8', 'none');
  return { fingerprint, ids, slabs: slabs as Uint8Array<ArrayBuffer> };
}

function parse(
  file: SafetensorsFile,
  arrays: ReadonlyMap<string, unknown>,
): { messages: ChatMessage[]; options: AnswerOptions } {
  const text = file.metadata.get('session') ?? '';
  let session: { messages?: unknown; options?: unknown };
  try {
    session = JSON.parse(text, (_, value) => {
      const name: unknown = value?.[TENSOR];
      if (name === undefined) return value;
      if (typeof name === 'string' && arrays.has(name)) return arrays.get(name);
      throw damaged(`array ${name}`, 'a tensor of this name', 'none');
    });
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw damaged('__metadata__.session', 'JSON', String((error as Error).message));
  }
  const { messages, options } = session ?? {};
  if (!Array.isArray(messages)) throw damaged('messages', 'a list', typeof messages);
  if (typeof options !== 'object' || options === null) throw damaged('options', 'an object', typeof options);
  return { messages, options };
}

function damaged(where: string, expected: string, got: string): CheckpointError {
  return new CheckpointError({ what: 'no saved session', where: `session, ${where}`, expected, got });
}
