/** The committed goldens of generation, and the tiny checkpoints that they were made with. */
import { readFileSync } from 'node:fs';
import { openCheckpoint } from '../../src/checkpoint/folder.js';
import { openSafetensors } from '../../src/checkpoint/safetensors.js';
import { fileSource } from '../../src/checkpoint/source.js';
import type { GenerateArguments } from '../../src/generation/generate.js';
import type { GenerateInputs } from '../../src/generation/prompt.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { openGolden } from '../../src/parity/golden.js';
import type { HostTensor } from '../../src/runtime/tensor.js';

const ROOT = 'test/goldens';

export interface Run {
  name: string;
  checkpoint: string;
  options: GenerateArguments;
  sequences: number[][];
  sequences_scores?: number[];
  beam_indices?: number[][];
}

export const runs = (JSON.parse(readFileSync(`${ROOT}/generation/runs.json`, 'utf8')) as { runs: Run[] })
  .runs;

/** What the goldens' script sets: no eos, the text config's pad. */
export function defaultsOf({ config }: Model) {
  return {
    eos_token_id: [],
    pad_token_id: Number(config.text_config.pad_token_id ?? 0),
    bos_token_id: undefined,
  };
}

export interface Tiny {
  model: Model;
  /** With the dtype that PyTorch ran in, which is not always the config's. */
  inputs: GenerateInputs & Pick<GenerateArguments, 'position_dtype'>;
  /** The golden's own greedy continuation of the prompts, where it has one. */
  greedy?: number[][];
}

const opened = new Map<string, Promise<Tiny>>();

/** A tiny checkpoint with the inputs of its golden; loaded once. */
export function tiny(name: string): Promise<Tiny> {
  if (!opened.has(name)) opened.set(name, open(name));
  return opened.get(name)!;
}

async function open(name: string): Promise<Tiny> {
  const model = await loadModel(await openCheckpoint(`${ROOT}/${name}`));
  const golden = await openGolden(await fileSource(`${ROOT}/${name}/golden.safetensors`));
  const { position_ids: _, ...inputs } = golden.inputs.forward;
  await golden.file.close();
  const { sequences } = golden;
  const greedy = sequences && rowsOf({ dims: sequences.dims, data: Int32Array.from(sequences.data) });
  return { model, inputs: { ...inputs, position_dtype: 'float32' }, greedy };
}

/** Bytes that a model holds beside the activations (which stay as large as they once were) and what it keeps for later calls. */
export function held({ ops, prefixes, tiles }: Model): number {
  const { heap, activations } = ops.engine;
  return heap.used - activations.bytes - prefixes.bytes - tiles.bytes;
}

/** One row of a batch without its pads and without the pictures of the others. */
export function rowAlone(inputs: Tiny['inputs'], row: number): Tiny['inputs'] {
  const { input_ids, attention_mask, pixel_values, pixel_attention_mask, position_dtype } = inputs;
  const [batch, sequence] = input_ids!.dims;
  const kept = Array.from({ length: sequence }, (_, i) => i).filter(
    (i) => !attention_mask || Number(attention_mask.data[row * sequence + i]),
  );
  const ids = Int32Array.from(kept, (i) => Number(input_ids!.data[row * sequence + i]));
  const slice = (tensor: HostTensor | undefined) => {
    if (!tensor) return undefined;
    const size = tensor.data.length / batch;
    return { dims: [1, ...tensor.dims.slice(1)], data: tensor.data.slice(row * size, (row + 1) * size) };
  };
  const alone: Tiny['inputs'] = { input_ids: { dims: [1, ids.length], data: ids }, position_dtype };
  const pixels = slice(pixel_values);
  if (!pixels || (pixels.data as Float32Array).every((value) => value === 0)) return alone;
  return { ...alone, pixel_values: pixels, pixel_attention_mask: slice(pixel_attention_mask) };
}

export function rowsOf({ dims, data }: HostTensor<Int32Array>): number[][] {
  const [rows, length] = dims;
  return Array.from({ length: rows }, (_, row) =>
    Array.from(data.subarray(row * length, (row + 1) * length)),
  );
}

/** All tensors and the metadata of a file among the goldens of generation. */
export async function readTensors(file: string) {
  const opened = await openSafetensors(await fileSource(`${ROOT}/generation/${file}`));
  const tensors = new Map<string, HostTensor>();
  for (const name of opened.tensors.keys()) {
    const { data, shape } = await opened.readTensor(name);
    tensors.set(name, { dims: shape, data: data as HostTensor['data'] });
  }
  await opened.close();
  return { tensors, metadata: opened.metadata };
}
