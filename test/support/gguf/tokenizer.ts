/** A GGUF's byte-pair vocabulary as tokenizer.json and tokenizer_config.json. */
import type { Gguf } from './file.js';

/** The token type of special tokens. */
const CONTROL = 3;

/** llama.cpp's `smollm` pre-tokenizer is GPT-2's bytes after digits have been split one by one. */
export function tokenizerOf({ values }: Gguf): object {
  const pre = values.get('tokenizer.ggml.pre')?.value;
  if (pre !== 'smollm') throw new Error(`pre-tokenizer: expected smollm, got ${pre}`);
  const tokens = values.get('tokenizer.ggml.tokens')?.value as string[];
  const merges = values.get('tokenizer.ggml.merges')?.value as string[];
  const types = values.get('tokenizer.ggml.token_type')?.value as number[];
  const added_tokens = tokens.flatMap((content, id) =>
    types[id] === CONTROL
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }]
      : [],
  );
  const byteLevel = { type: 'ByteLevel', trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens,
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { ...byteLevel, add_prefix_space: false },
      ],
    },
    post_processor: null,
    decoder: { ...byteLevel, add_prefix_space: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((merge) => merge.split(' ')),
    },
  };
}

/** Named tokens and the chat template. */
export function tokenizerConfigOf({ values }: Gguf): object {
  const tokens = values.get('tokenizer.ggml.tokens')?.value as string[];
  const token = (name: string) => tokens[Number(values.get(`tokenizer.ggml.${name}_token_id`)?.value)];
  return {
    tokenizer_class: 'GPT2Tokenizer',
    add_prefix_space: false,
    bos_token: token('bos'),
    eos_token: token('eos'),
    unk_token: token('unknown'),
    pad_token: token('padding'),
    chat_template: values.get('tokenizer.chat_template')?.value,
    model_max_length: Number(values.get('llama.context_length')?.value),
    clean_up_tokenization_spaces: false,
  };
}
