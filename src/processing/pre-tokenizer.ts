/**
 * Two pre-tokenizers of tokenizer.json, rewritten so that @huggingface/tokenizers splits as the Rust library does:
 * its `Digits` knows ASCII digits only (Rust: every Unicode number), and JavaScript's `\s` has U+FEFF but not U+0085.
 */

type Config = Record<string, unknown>;

/** Unicode White_Space. */
const SPACE = '\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

/** The pattern of GPT-2's byte-level pre-tokenizer with that class for `\s`. */
const BYTE_LEVEL =
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+` +
  `|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`;

/** The same pre-tokenizer, in parts on which both libraries agree. */
export function exactPreTokenizer(config: Config | null | undefined): Config | null | undefined {
  if (config?.type === 'Sequence' && Array.isArray(config.pretokenizers)) {
    return { ...config, pretokenizers: config.pretokenizers.map((part: Config) => exactPreTokenizer(part)) };
  }
  if (config?.type === 'Digits') return split(config.individual_digits ? '\\p{N}' : '\\p{N}+');
  // With a prefix space the space comes before the splitting: left to the library.
  if (config?.type === 'ByteLevel' && config.use_regex !== false && !config.add_prefix_space) {
    return { type: 'Sequence', pretokenizers: [split(BYTE_LEVEL), { ...config, use_regex: false }] };
  }
  return config;
}

function split(pattern: string): Config {
  return { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
}
