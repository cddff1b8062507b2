/** The options of `apply_chat_template`. */
import type { CallOptions, ImageSources } from './processor-options.js';
import type { VideosInput } from './video/open.js';

export interface ChatOptions {
  /** Ends the prompt with the header of an answer. */
  add_generation_prompt?: boolean;
  /** Ends the prompt after the last message's text, for the model to go on with it. Not with `add_generation_prompt`. */
  continue_final_message?: boolean;
  /** Another template than the checkpoint's, or the name of one where it has several. */
  chat_template?: string;
  /** What the template may use beside messages and special tokens. */
  variables?: Record<string, unknown>;
  tools?: object[];
  documents?: object[];
  /** Ignored without `tokenize`. */
  return_dict?: boolean;
}

export interface TokenizedChatOptions extends ChatOptions, CallOptions {
  tokenize: true;
  /**
   * Adds `assistant_masks`, int64 [batch, sequence]: zeros, as in the reference, for templates without `{% generation %}`;
   * with it InputError.
   */
  return_assistant_tokens_mask?: boolean;
  /** Pictures and videos for messages whose pieces have no source of their own. */
  images?: ImageSources;
  videos?: VideosInput;
}
