import { InputError } from '../errors.js';
import { TextStream } from '../processing/text-stream.js';
import type { SmolVLMTokenizer } from '../processing/tokenizer.js';
import type { Streamer } from './run.js';

export interface TextStreamerOptions {
  /** Leave the prompt's text out. Default: false. */
  skip_prompt?: boolean;
  skip_special_tokens?: boolean;
  /** Gets each piece of text; the last one comes with `stream_end`. Default: to standard output, where there is one. */
  on_finalized_text?: (text: string, stream_end: boolean) => void;
}

/**
 * Gives out the text of a generation as it is made (TextStreamer), never half a character. Unlike there, a piece is given
 * out as soon as its characters are whole, not word by word. For one row at a time.
 */
export class TextStreamer implements Streamer {
  readonly #stream: TextStream;
  readonly #options: TextStreamerOptions;
  #isPrompt = true;

  constructor(tokenizer: SmolVLMTokenizer, options: TextStreamerOptions = {}) {
    const { skip_special_tokens } = options;
    this.#stream = new TextStream(tokenizer, { skip_special_tokens });
    this.#options = options;
  }

  /** @throws InputError for more than one id after the prompt */
  put(token_ids: Int32Array): void {
    const isPrompt = this.#isPrompt;
    this.#isPrompt = false;
    if (isPrompt && this.#options.skip_prompt) return;
    if (!isPrompt && token_ids.length !== 1) {
      const got = `${token_ids.length} rows`;
      throw new InputError({
        what: 'a TextStreamer follows one row',
        where: 'streamer',
        expected: '1 row',
        got,
      });
    }
    let text = '';
    for (const id of token_ids) text += this.#stream.push(id);
    if (text !== '') this.#give(text, false);
  }

  /** Gives out what was held back. The streamer can be used for another generation afterwards. */
  end(): void {
    this.#isPrompt = true;
    this.#give(this.#stream.end(), true);
  }

  #give(text: string, isEnd: boolean): void {
    const { on_finalized_text: give = write } = this.#options;
    give(text, isEnd);
  }
}

function write(text: string, isEnd: boolean): void {
  const output = (globalThis as { process?: { stdout?: { write(text: string): void } } }).process?.stdout;
  if (output) output.write(isEnd ? `${text}\n` : text);
  else console.log(text);
}
