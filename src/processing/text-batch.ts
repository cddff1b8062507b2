/** Texts to one padded tensor of ids. */
import { InputError } from '../errors.js';
import type { SmolVLMTokenizer } from './tokenizer.js';

export interface PaddingOptions {
  /** Default true: shorter rows are padded. With false, rows of different lengths are an InputError. */
  padding?: boolean;
  /** Default: tokenizer_config.json's, or left, on which generation depends (the reference's default is right). */
  padding_side?: 'left' | 'right';
  add_special_tokens?: boolean;
}

export interface TextInputs {
  /** int64 [batch, sequence]. */
  input_ids: { data: BigInt64Array; dims: [number, number] };
  /** int64 [batch, sequence]: 1 for tokens, 0 for padding. */
  attention_mask: { data: BigInt64Array; dims: [number, number] };
}

export function encodeBatch(
  tokenizer: SmolVLMTokenizer,
  texts: string[],
  options: PaddingOptions,
): TextInputs {
  const rows = texts.map((text) =>
    tokenizer.encode(text, { add_special_tokens: options.add_special_tokens }),
  );
  const length = Math.max(...rows.map((row) => row.length));
  const ragged = rows.some((row) => row.length !== length);
  if (ragged && options.padding === false) {
    throw new InputError({
      what: 'texts of different lengths',
      where: 'padding',
      expected: 'true, or equal lengths',
      got: rows.map((row) => row.length).join(', '),
    });
  }
  const pad = tokenizer.pad_token_id ?? tokenizer.eos_token_id;
  if (ragged && pad === undefined) {
    throw new InputError({
      what: 'tokenizer has no token to pad with',
      where: 'tokenizer_config.json: pad_token',
      expected: 'a token of the vocabulary',
      got: String(tokenizer.pad_token),
    });
  }
  const left = (options.padding_side ?? tokenizer.padding_side ?? 'left') === 'left';
  const ids = new BigInt64Array(rows.length * length).fill(BigInt(pad ?? 0));
  const mask = new BigInt64Array(rows.length * length);
  for (const [index, row] of rows.entries()) {
    const start = index * length + (left ? length - row.length : 0);
    for (const [i, id] of row.entries()) {
      ids[start + i] = BigInt(id);
      mask[start + i] = 1n;
    }
  }
  const dims: [number, number] = [rows.length, length];
  return { input_ids: { data: ids, dims }, attention_mask: { data: mask, dims } };
}
