/** The text side of a checkpoint: tokenizer.json and tokenizer_config.json over @huggingface/tokenizers. */
import { Tokenizer } from '@huggingface/tokenizers';
import { CheckpointError, InputError } from '../errors.js';
import type { Steps } from './paced.js';
import { exactPreTokenizer } from './pre-tokenizer.js';
import { splitsAtGaps, textPieces } from './text-pieces.js';

export interface DecodeTextOptions {
  /** Leaves out the tokens that tokenizer.json marks as special. Default false, as in the reference. */
  skip_special_tokens?: boolean;
  /** Default: tokenizer_config.json's value, or false. */
  clean_up_tokenization_spaces?: boolean;
}

export type TokenIds = ArrayLike<number | bigint>;

/** Rows of ids, a tensor [batch, sequence] or [sequence], or one sequence. */
export type TokenSequences = readonly TokenIds[] | TokenIds | { data: TokenIds; dims: readonly number[] };

/** The named special tokens (`special_tokens_map`) that templates may use. */
const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

export class SmolVLMTokenizer {
  readonly bos_token: string | undefined;
  readonly eos_token: string | undefined;
  readonly pad_token: string | undefined;
  readonly unk_token: string | undefined;
  /** `left` or `right` if tokenizer_config.json says so; may be set. */
  padding_side: 'left' | 'right' | undefined;
  /** Where `truncation` cuts: tokenizer_config.json's, or right; may be set. */
  truncation_side: 'left' | 'right';
  readonly model_max_length: number;
  readonly model_input_names: readonly string[] = ['input_ids', 'attention_mask'];
  /** What chat templates see: the named tokens and `additional_special_tokens`. */
  readonly special_tokens_map: Record<string, string | string[]>;
  readonly all_special_ids: readonly number[];
  /** tokenizer_config.json as it is. */
  readonly config: Readonly<Record<string, unknown>>;
  /** tokenizer.json as it is. */
  readonly json: object;
  readonly #tokenizer: Tokenizer;
  #added: { before: number[]; after: number[] } | undefined;
  readonly #special: ReadonlySet<number>;
  readonly #cleanUp: boolean;
  readonly #splitsAtGaps: boolean;

  /** Takes the two files' parsed contents. Throws CheckpointError when the first is no tokenizer. */
  constructor(tokenizerJson: object, tokenizerConfig: object = {}) {
    const json = tokenizerJson as Record<string, unknown>;
    this.json = tokenizerJson;
    this.config = tokenizerConfig as Record<string, unknown>;
    try {
      const { post_processor = null, normalizer = null, decoder = null, added_tokens = [] } = json;
      const pre_tokenizer = exactPreTokenizer(json.pre_tokenizer as Record<string, unknown> | null) ?? null;
      const parts = { ...json, post_processor, normalizer, decoder, added_tokens, pre_tokenizer };
      this.#tokenizer = new Tokenizer(parts, this.config);
    } catch (cause) {
      const got = String((cause as Error).message);
      throw new CheckpointError({
        what: 'unusable tokenizer',
        where: 'tokenizer.json',
        expected: 'a tokenizer',
        got,
        cause,
      });
    }
    this.special_tokens_map = specialTokensMap(this.config);
    const named = (name: string) => this.special_tokens_map[name] as string | undefined;
    this.bos_token = named('bos_token');
    this.eos_token = named('eos_token');
    this.pad_token = named('pad_token');
    this.unk_token = named('unk_token');
    const side = this.config.padding_side;
    this.padding_side = side === 'left' || side === 'right' ? side : undefined;
    this.truncation_side = this.config.truncation_side === 'left' ? 'left' : 'right';
    const limit = this.config.model_max_length;
    this.model_max_length = typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY;
    const special = new Set<number>();
    for (const [id, token] of this.#tokenizer.get_added_tokens_decoder()) if (token.special) special.add(id);
    for (const token of Object.values(this.special_tokens_map).flat()) {
      const id = this.convert_tokens_to_ids(token);
      if (id !== undefined) special.add(id);
    }
    this.#special = special;
    this.all_special_ids = [...special].sort((a, b) => a - b);
    this.#cleanUp = this.config.clean_up_tokenization_spaces === true;
    this.#splitsAtGaps = splitsAtGaps(json, this.config);
  }

  get bos_token_id(): number | undefined {
    return this.#idOf(this.bos_token);
  }

  get eos_token_id(): number | undefined {
    return this.#idOf(this.eos_token);
  }

  get pad_token_id(): number | undefined {
    return this.#idOf(this.pad_token);
  }

  /** Token ids of a text; special tokens inside it become their ids. `add_special_tokens` runs the post-processor. */
  encode(text: string, { add_special_tokens = true }: { add_special_tokens?: boolean } = {}): number[] {
    if (typeof text !== 'string') {
      throw new InputError({ what: 'not a text', where: 'text', expected: 'a string', got: typeof text });
    }
    if (text === '') return [];
    const encoding: { ids: (number | undefined)[]; tokens: string[] } = this.#tokenizer.encode(text, {
      add_special_tokens,
    });
    const { ids, tokens } = encoding;
    const unknown = ids.findIndex((id) => id === undefined || id === null);
    if (unknown >= 0) {
      throw new CheckpointError({
        what: 'token without an id and no unk_token',
        where: 'tokenizer.json',
        expected: 'an id for every token',
        got: JSON.stringify(tokens[unknown]),
      });
    }
    return ids as number[];
  }

  /** The same ids without those of the post-processor, pausing within a long text where the tokenizer is one that may. */
  *encodeSteps(text: string): Steps<number[]> {
    const plain = { add_special_tokens: false };
    if (typeof text !== 'string' || !this.#splitsAtGaps) return this.encode(text, plain);
    const ids: number[] = [];
    for (const piece of textPieces(text)) {
      for (const id of this.encode(piece, plain)) ids.push(id);
      yield;
    }
    return ids;
  }

  /** The ids that the post-processor puts before and after every text. */
  added_ids(): { before: number[]; after: number[] } {
    if (this.#added === undefined) {
      const content = this.encode('a', { add_special_tokens: false });
      const whole = this.encode('a');
      const extra = whole.length - content.length;
      let start = 0;
      while (start < extra && content.some((id, i) => whole[start + i] !== id)) start++;
      this.#added = { before: whole.slice(0, start), after: whole.slice(start + content.length) };
    }
    return this.#added;
  }

  /** Text of token ids. Ids that have no token are left out, as in the reference. */
  decode(ids: TokenIds, options: DecodeTextOptions = {}): string {
    const known: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = Number(ids[i]);
      if (options.skip_special_tokens && this.#special.has(id)) continue;
      if (this.#tokenizer.id_to_token(id) !== undefined) known.push(id);
    }
    if (known.length === 0) return '';
    return this.#tokenizer.decode(known, {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: options.clean_up_tokenization_spaces ?? this.#cleanUp,
    });
  }

  /** Each sequence's text: rows of ids, or a tensor [batch, sequence]. Of a single sequence every id is decoded alone. */
  batch_decode(sequences: TokenSequences, options: DecodeTextOptions = {}): string[] {
    return rowsOf(sequences).map((row) => this.decode(row, options));
  }

  convert_tokens_to_ids(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token);
  }

  convert_ids_to_tokens(id: number): string | undefined {
    return this.#tokenizer.id_to_token(id);
  }

  #idOf(token: string | undefined): number | undefined {
    return token === undefined ? undefined : this.convert_tokens_to_ids(token);
  }
}

function rowsOf(sequences: TokenSequences): readonly TokenIds[] {
  if (!('dims' in sequences)) {
    const rows = Array.from(sequences as ArrayLike<number | bigint | TokenIds>);
    return rows.map((row) => (typeof row === 'number' || typeof row === 'bigint' ? [row] : row));
  }
  if (sequences.dims.length === 1) return Array.from(sequences.data, (id) => [id]);
  const [batch, length] = sequences.dims;
  if (sequences.dims.length !== 2 || batch * length !== sequences.data.length) {
    throw new InputError({
      what: 'sequences of the wrong shape',
      where: 'sequences',
      expected: '[batch, sequence]',
      got: `[${sequences.dims}] with ${sequences.data.length} ids`,
    });
  }
  const all = Array.from(sequences.data);
  return Array.from({ length: batch }, (_, row) => all.slice(row * length, (row + 1) * length));
}

function specialTokensMap(config: Record<string, unknown>): Record<string, string | string[]> {
  const map: Record<string, string | string[]> = {};
  const content = (token: unknown) =>
    typeof token === 'string' ? token : (token as { content?: unknown } | null | undefined)?.content;
  for (const name of NAMED) {
    const token = content(config[name]);
    if (typeof token === 'string') map[name] = token;
  }
  const extra = config.additional_special_tokens;
  const tokens = Array.isArray(extra) ? extra.map(content).filter((token) => typeof token === 'string') : [];
  if (tokens.length > 0) map.additional_special_tokens = tokens as string[];
  return map;
}
