import type { HostTensor } from '../runtime/tensor.js';

/** What `generate` gives with `return_dict_in_generate` (GenerateDecoderOnlyOutput, GenerateBeamDecoderOnlyOutput). */
export interface GenerateOutput {
  /** [B · num_return_sequences, prompt + new]: the prompt and the new ids, rows that ended filled up. */
  sequences: HostTensor<Int32Array>;
  /** With output_scores: for each step the processed scores [rows, vocab_size]; in a beam search rows are B · num_beams. */
  scores?: HostTensor<Float32Array>[];
  /** With output_logits: the same before the processors. */
  logits?: HostTensor<Float32Array>[];
  /** Beam search with output_scores: [B · num_return_sequences], summed log-probabilities with the length penalty. */
  sequences_scores?: HostTensor<Float32Array>;
  /** Beam search: [B · num_return_sequences, new]: the row of `scores` that each new id was chosen from; −1 behind the end. */
  beam_indices?: HostTensor<Int32Array>;
}

/** Rows of different lengths as one matrix, filled up at the end. */
export function padRows(rows: readonly (readonly number[])[], fill: number): HostTensor<Int32Array> {
  const length = Math.max(0, ...rows.map((row) => row.length));
  const data = new Int32Array(rows.length * length).fill(fill);
  for (const [i, row] of rows.entries()) data.set(row, i * length);
  return { dims: [rows.length, length], data };
}

/** Rows of scores as one matrix. */
export function stackRows(rows: readonly Float32Array[]): HostTensor<Float32Array> {
  const width = rows[0].length;
  const data = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) data.set(row, i * width);
  return { dims: [rows.length, width], data };
}
