/** Token ids in, text out, one by one: never half a character. */
import type { DecodeTextOptions, SmolVLMTokenizer } from './tokenizer.js';

const REPLACEMENT = '\ufffd';

/**
 * An incremental `decode`: the strings that `push` returns and the one that `end` returns, joined, are `decode` of all ids
 * (without clean-up of spaces, which would change text already given out). A character whose bytes are spread over several
 * tokens is held back until it is whole.
 */
export class TextStream {
  readonly #tokenizer: SmolVLMTokenizer;
  readonly #options: DecodeTextOptions;
  /** Ids from one clean boundary back: the context in which the new ones are decoded. */
  #window: number[] = [];
  /** How much of the window's text has been given out. */
  #given = 0;
  /** Where in the window the next one begins: all ids before it decode to whole characters. */
  #boundary = 0;

  constructor(tokenizer: SmolVLMTokenizer, options: Pick<DecodeTextOptions, 'skip_special_tokens'> = {}) {
    this.#tokenizer = tokenizer;
    this.#options = { ...options, clean_up_tokenization_spaces: false };
  }

  /** The text that this id completes; '' while a character is unfinished or the id is skipped. */
  push(id: number | bigint): string {
    this.#window.push(Number(id));
    const text = this.#decode(this.#window);
    if (text.endsWith(REPLACEMENT)) return '';
    const delta = text.slice(this.#given);
    // One stretch of context stays, for decoders that treat the first token of a text differently.
    this.#window = this.#window.slice(this.#boundary);
    this.#boundary = this.#window.length;
    this.#given = this.#decode(this.#window).length;
    return delta;
  }

  /** What was held back: unfinished bytes come out as U+FFFD. The stream can be used for a new text afterwards. */
  end(): string {
    const delta = this.#decode(this.#window).slice(this.#given);
    this.#window = [];
    this.#given = 0;
    this.#boundary = 0;
    return delta;
  }

  #decode(ids: number[]): string {
    return this.#tokenizer.decode(ids, this.#options);
  }
}
