import { InputError } from '../errors.js';
import type { ForwardInputs } from '../model/forward.js';
import type { Model } from '../model/model.js';
import type { HostTensor } from '../runtime/tensor.js';

/** Inputs of a generation: what the processor makes. Pads, as attention_mask has them, may be on either side. */
export type GenerateInputs = Omit<ForwardInputs, 'past_key_values' | 'position_ids'>;

/** A batch of prompts, checked. */
export interface Prompt {
  readonly batch: number;
  /** Columns that the model sees. */
  readonly sequence: number;
  /** Each row's ids, pads included; none where the prompt is embeddings alone. */
  readonly ids: readonly (readonly number[])[];
  /** Tokens of each row without its pads. */
  readonly lengths: readonly number[];
  /** What the first pass gets. */
  readonly inputs: ForwardInputs;
}

/**
 * The first pass as the reference prepares it (prepare_inputs_for_generation): positions count the mask; without a mask
 * every pad_token_id is a pad, unless it is an eos too; embeddings go before ids.
 * @throws InputError for no tokens, an empty row, or a prompt that leaves the context no room
 */
export function readPrompt(
  model: Model,
  inputs: GenerateInputs,
  { pad_token_id, eos_token_id }: { pad_token_id: number | null; eos_token_id: readonly number[] },
): Prompt {
  const { input_ids, inputs_embeds } = inputs;
  const [batch, sequence] = (inputs_embeds ?? input_ids)?.dims ?? [];
  if (batch === undefined) {
    const expected = 'one of the two';
    const where = 'input_ids, inputs_embeds';
    throw new InputError({ what: 'no tokens given', where, expected, got: 'neither' });
  }
  const ids = rowsOf(input_ids, batch);
  let { attention_mask } = inputs;
  if (!attention_mask && input_ids && pad_token_id !== null && !eos_token_id.includes(pad_token_id)) {
    const data = Uint8Array.from(ids.flat(), (id) => (id === pad_token_id ? 0 : 1));
    attention_mask = { dims: input_ids.dims, data };
  }
  checkMask(attention_mask, batch, sequence);
  const lengths = rowLengths(attention_mask, batch, sequence);
  checkContext(model, lengths);
  const position_ids = promptPositions(attention_mask, batch, sequence);
  const given = inputs_embeds ? undefined : input_ids;
  return {
    batch,
    sequence,
    ids,
    lengths,
    inputs: { ...inputs, input_ids: given, attention_mask, position_ids },
  };
}

function rowsOf(tensor: HostTensor | undefined, batch: number): number[][] {
  if (!tensor) return Array.from({ length: batch }, () => []);
  const { dims, data } = tensor;
  if (dims.length !== 2 || dims[0] !== batch) {
    const expected = `[${batch}, sequence]`;
    throw new InputError({ what: 'wrong shape', where: 'input_ids', expected, got: `[${dims}]` });
  }
  if (data.length !== dims[0] * dims[1]) {
    const expected = `${dims[0] * dims[1]} values for [${dims}]`;
    const what = 'values and shape do not fit';
    throw new InputError({ what, where: 'input_ids', expected, got: String(data.length) });
  }
  const all = Array.from(data as Int32Array, Number);
  return Array.from({ length: batch }, (_, row) => all.slice(row * dims[1], (row + 1) * dims[1]));
}

function checkMask(mask: HostTensor | undefined, batch: number, sequence: number): void {
  if (!mask || (mask.dims.length === 2 && mask.dims[0] === batch && mask.dims[1] === sequence)) return;
  const expected = `[${batch}, ${sequence}]`;
  const what = 'shape does not fit the tokens';
  throw new InputError({ what, where: 'attention_mask', expected, got: `[${mask.dims}]` });
}

export function rowLengths(mask: HostTensor | undefined, batch: number, sequence: number): number[] {
  return Array.from({ length: batch }, (_, row) => {
    if (!mask) return sequence;
    let length = 0;
    for (let i = 0; i < sequence; i++) if (Number(mask.data[row * sequence + i])) length++;
    return length;
  });
}

/** As the reference derives them: the count of tokens before, pads not counted; 1 for the pads themselves. */
export function promptPositions(mask: HostTensor | undefined, batch: number, sequence: number) {
  const data = new Int32Array(batch * sequence);
  for (let row = 0; row < batch; row++) {
    let count = 0;
    for (let i = row * sequence; i < (row + 1) * sequence; i++) {
      const isPad = mask && !Number(mask.data[i]);
      data[i] = isPad ? 1 : count++;
    }
  }
  return { dims: [batch, sequence], data };
}

export function checkContext({ config }: Model, lengths: readonly number[]): void {
  const context = config.text_config.max_position_embeddings;
  for (const [row, length] of lengths.entries()) {
    if (length === 0) {
      const expected = 'at least one token';
      throw new InputError({ what: 'empty prompt', where: `input_ids, row ${row}`, expected, got: '0' });
    }
    if (length >= context) {
      throw new InputError({
        what: 'the prompt is longer than the context',
        where: `input_ids, row ${row}`,
        expected: `fewer than ${context} tokens (max_position_embeddings)`,
        got: `${length} tokens`,
      });
    }
  }
}
