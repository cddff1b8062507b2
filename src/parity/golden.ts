import type { Dtype } from '../checkpoint/dtypes.js';
import { openSafetensors, type SafetensorsFile, type TensorInfo } from '../checkpoint/safetensors.js';
import type { ByteSource } from '../checkpoint/source.js';
import { CheckpointError } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import { type GoldenInputs, readInputs } from './golden-inputs.js';

export const GOLDEN_FORMAT = 'smolvlm-golden/1';

/** The tensors that a golden holds of one module or output. */
export interface GoldenEntry {
  /** The reference's own run: float32, or the half precision that the metadata says. */
  reference?: TensorInfo;
  /** The same from the float64 run. */
  float64?: TensorInfo;
}

/** An open golden file: what the reference was given, and where in the file lies what it gave. */
export interface Golden {
  readonly file: SafetensorsFile;
  /** What torch computed in; the vision position ids follow it. */
  readonly dtype: PositionDtype;
  readonly metadata: ReadonlyMap<string, string>;
  readonly inputs: GoldenInputs;
  /** By `modules.<path>`, `outputs.<name>`; names of no known kind are here too, so that none is passed over. */
  readonly entries: ReadonlyMap<string, GoldenEntry>;
  /** [B, S + new]: the prompt and its greedy continuation. */
  readonly sequences?: { readonly dims: readonly number[]; readonly data: readonly number[] };
  /** [B][new]: the float64 gap between the two best logits at each step, where the file has it. */
  readonly gaps?: readonly (readonly number[])[];
}

const DTYPES: readonly string[] = ['float32', 'float16', 'bfloat16'];

/**
 * Opens a `smolvlm-golden/1` file and reads its inputs. Closes the source when it throws.
 * @throws CheckpointError for a malformed file, one of another format or dtype, or without tokens; InputError for an
 * input that the runtime does not take
 */
export async function openGolden(source: ByteSource, signal?: AbortSignal): Promise<Golden> {
  const file = await openSafetensors(source, signal);
  try {
    return await readGolden(file, signal);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readGolden(file: SafetensorsFile, signal?: AbortSignal): Promise<Golden> {
  const { metadata, name } = file;
  const format = metadata.get('format');
  if (format !== GOLDEN_FORMAT)
    throw metadataError(name, 'format', 'not a golden file', GOLDEN_FORMAT, format);
  const dtype = metadata.get('dtype')?.replace(/^torch\./, '');
  if (!dtype || !DTYPES.includes(dtype)) {
    const expected = `one of ${DTYPES.join(', ')}`;
    throw metadataError(name, 'dtype', 'the golden does not say what torch computed in', expected, dtype);
  }
  const entries = new Map<string, GoldenEntry>();
  for (const info of file.tensors.values()) addEntry(entries, info);
  if (entries.size === 0) {
    const expected = 'modules.* and outputs.*';
    throw new CheckpointError({ what: 'nothing to compare', where: name, expected, got: 'inputs alone' });
  }
  return {
    file,
    dtype: dtype as PositionDtype,
    metadata,
    inputs: await readInputs(file, signal),
    entries,
    sequences: await readSequences(file, signal),
    gaps: readGaps(metadata.get('generate_gaps')),
  };
}

const SEQUENCES = 'generate.sequences';

function addEntry(entries: Map<string, GoldenEntry>, info: TensorInfo): void {
  if (info.name.startsWith('inputs.') || info.name === SEQUENCES) return;
  const isFloat64 = info.name.startsWith('f64.');
  const name = isFloat64 ? info.name.slice('f64.'.length) : info.name;
  const entry = entries.get(name) ?? {};
  entry[isFloat64 ? 'float64' : 'reference'] = info;
  entries.set(name, entry);
}

async function readSequences(file: SafetensorsFile, signal?: AbortSignal): Promise<Golden['sequences']> {
  const info = file.tensors.get(SEQUENCES);
  if (!info) return undefined;
  if (info.shape.length === 2) {
    return { dims: info.shape, data: await file.readIntegers(SEQUENCES, signal) };
  }
  throw new CheckpointError({
    what: 'wrong shape',
    where: `${file.name}, tensor ${SEQUENCES}`,
    expected: '[batch, sequence + new tokens]',
    got: `[${info.shape.join(', ')}]`,
  });
}

/** The gaps are a convenience of the script, no part of the format: anything else under this name is left alone. */
function readGaps(text: string | undefined): Golden['gaps'] {
  try {
    const value: unknown = JSON.parse(text ?? 'null');
    const isRow = (row: unknown) => Array.isArray(row) && row.every((gap) => typeof gap === 'number');
    return Array.isArray(value) && value.every(isRow) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The dtypes that an entry may have: the metadata's own, and F64 for the twin. */
export function entryDtypes(golden: Golden, isFloat64: boolean): readonly Dtype[] {
  if (isFloat64) return ['F64'];
  // Half-precision runs keep some outputs in float32: the loss, for one.
  if (golden.dtype === 'float32') return ['F32'];
  return golden.dtype === 'float16' ? ['F16', 'F32'] : ['BF16', 'F32'];
}

function metadataError(file: string, field: string, what: string, expected: string, got: string | undefined) {
  const where = `${file}, metadata ${field}`;
  return new CheckpointError({
    what,
    where,
    expected,
    got: got === undefined ? 'nothing' : JSON.stringify(got),
  });
}
