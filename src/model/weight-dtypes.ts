import type { ExpectedTensor } from '../checkpoint/manifest.js';
import { storedAs } from '../checkpoint/quantized.js';
import { InputError } from '../errors.js';
import { isQuantized, type PanelDtype, type QuantizedDtype, type WeightDtype } from '../runtime/weight.js';

/** Parts of a model whose matrices may have a dtype each. */
export const PARTS = ['vision', 'connector', 'text', 'head', 'embeddings'] as const;
export type Part = (typeof PARTS)[number];

/** The dtype of each part's matrices; where there is none, and for F32, as they are stored. */
export type PartDtypes = Readonly<Partial<Record<Part, PanelDtype>>>;

/** The part that a tensor of the whole model belongs to. */
export function partOf(name: string): Part {
  if (name.startsWith('model.vision_model.')) return 'vision';
  if (name.startsWith('model.connector.')) return 'connector';
  if (name.startsWith('model.text_model.embed_tokens.')) return 'embeddings';
  return name.startsWith('lm_head.') ? 'head' : 'text';
}

/**
 * Whether a tensor can be quantised: matrices that are multiplied or looked up by token. Norms and biases are float32 in
 * memory anyhow; the patch and position embeddings are 1 % of the vision tower, and every error in them reaches all layers.
 */
export function isQuantizable({ name, layout }: Pick<ExpectedTensor, 'name' | 'layout'>): boolean {
  return layout === 'panel' && !/\.(patch|position)_embedding\./.test(name);
}

/**
 * One dtype for the whole model. `I8` is for all parts. `I4` leaves head and token embedding at 8 bits, as other runtimes'
 * 4-bit files do: the head's error reaches the logits straight, and the embedding's every layer, for 3 % of the memory.
 */
export function uniformDtypes(dtype: PanelDtype): PartDtypes {
  const rows = dtype === 'I4' ? 'I8' : dtype;
  return { vision: dtype, connector: dtype, text: dtype, head: rows, embeddings: rows };
}

/** What is done to tensors while they are read. */
export interface DtypeChanges {
  /** Rounded to another float dtype, before an adapter is merged. */
  readonly convert: ReadonlyMap<string, WeightDtype>;
  /** Quantised, after that. */
  readonly quantize: ReadonlyMap<string, QuantizedDtype>;
}

/** What the dtypes that are asked for mean for the tensors that are there.
 * @throws InputError where a tied head and embedding are asked to differ, or a quantised tensor to be something else
 */
export function dtypeChanges(
  expected: readonly ExpectedTensor[],
  tensors: ReadonlyMap<string, { readonly dtype: string; readonly scale?: unknown }>,
  parts: PartDtypes,
): DtypeChanges {
  const convert = new Map<string, WeightDtype>();
  const quantize = new Map<string, QuantizedDtype>();
  const dtypes = expected.some(({ name }) => name.startsWith('lm_head.')) ? parts : tiedDtypes(parts);
  for (const tensor of expected) {
    const { name } = tensor;
    const dtype = dtypes[partOf(name)];
    const stored = storedAs(tensors.get(name)!);
    if (dtype === undefined || dtype === stored) continue;
    if (isQuantized(stored)) throw requantized(name, stored, dtype);
    if (!isQuantized(dtype)) {
      if (dtype !== 'F32') convert.set(name, dtype);
    } else if (isQuantizable(tensor)) quantize.set(name, dtype);
  }
  return { convert, quantize };
}

/** Head and embedding are one tensor in memory: the head's dtype is the embedding's. */
function tiedDtypes(parts: PartDtypes): PartDtypes {
  const { head, embeddings } = parts;
  if (head !== undefined && embeddings !== undefined && head !== embeddings) {
    throw new InputError({
      what: 'head and embeddings of this model are one tensor',
      where: 'dtype',
      expected: 'the same dtype for both, or only one of them',
      got: `head ${head}, embeddings ${embeddings}`,
    });
  }
  return { ...parts, embeddings: embeddings ?? head };
}

function requantized(name: string, stored: QuantizedDtype, dtype: PanelDtype): InputError {
  return new InputError({
    what: 'the checkpoint is quantised already',
    where: `dtype, tensor ${name}`,
    expected: `${stored}, or 'auto'; for another dtype, the checkpoint that it was made from`,
    got: dtype,
  });
}
