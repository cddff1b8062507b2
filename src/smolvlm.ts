import { Answer } from './chat/answer.js';
import { type AnswerOptions, ask, type CallHooks } from './chat/ask.js';
import { holdMedia, type MediaSource, mediaPiece, text } from './chat/content.js';
import { ChatSession, type SessionOptions } from './chat/session.js';
import { type CheckpointLocation, openCheckpoint } from './checkpoint/folder.js';
import { InputError } from './errors.js';
import { refuseAdapter } from './model/load.js';
import { AutoModelForImageTextToText } from './modeling/auto-model.js';
import type { PretrainedOptions } from './modeling/options.js';
import type { SmolVLMForConditionalGeneration } from './modeling.js';
import { FeatureCache, type ProcessorOptions, SmolVLMProcessor } from './processing/index.js';

/** Options of `SmolVLM.from_pretrained`: the model's, and the processor's in an object of their own. */
export interface SmolVLMOptions extends PretrainedOptions {
  processor?: ProcessorOptions;
}

/**
 * A model with its processor, for the common cases: describing pictures and videos, and conversations about them.
 *
 * @example
 * const vlm = await SmolVLM.from_pretrained('HuggingFaceTB/SmolVLM-256M-Instruct');
 * for await (const piece of vlm.describe('photo.jpg', 'What is this?')) process.stdout.write(piece);
 * vlm.dispose();
 */
export class SmolVLM {
  readonly model: SmolVLMForConditionalGeneration;
  readonly processor: SmolVLMProcessor;
  /** What pictures became, for later turns about the same ones: 64 MiB at most, one picture of 17 tiles. */
  readonly feature_cache = new FeatureCache();

  constructor(model: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor) {
    this.model = model;
    this.processor = processor;
  }

  /**
   * Loads a checkpoint: a repository of the hub by name, a folder's path, its URL, or its files by name.
   * @throws what AutoProcessor's and AutoModelForImageTextToText's from_pretrained throw; AbortError
   */
  static async from_pretrained(
    location: CheckpointLocation,
    { processor: processorOptions, ...options }: SmolVLMOptions = {},
  ): Promise<SmolVLM> {
    // Opened once, so that all files are of one revision.
    const folder = await openCheckpoint(location, options);
    try {
      await refuseAdapter(folder);
      // The processor's files are small: what is wrong with them shows before the weights are read.
      const processor = await SmolVLMProcessor.from_pretrained(folder, processorOptions);
      return new SmolVLM(await AutoModelForImageTextToText.from_pretrained(folder, options), processor);
    } finally {
      await folder.close();
    }
  }

  /**
   * Answers a question about pictures and videos.
   * @param media one or several: paths, URLs, bytes of files, Blobs, pixels, or pieces such as `{ type: 'video', path }`
   * @throws (the answer rejects with) InputError for media that cannot be read, options that mean nothing, or a prompt longer
   * than the context; ImageError; MemoryError; AbortError; DisposedError
   */
  describe(
    media: MediaSource | readonly MediaSource[],
    prompt = 'Describe this image.',
    { signal, ...options }: AnswerOptions & CallHooks = {},
  ): Answer {
    return new Answer(async (emit, signal) => {
      const list = (Array.isArray(media) ? media : [media]) as readonly MediaSource[];
      if (list.length === 0) {
        const expected = 'at least one picture or video';
        throw new InputError({ what: 'nothing to describe', where: 'media', expected, got: 'an empty list' });
      }
      const pieces = await Promise.all(list.map((source, i) => mediaPiece(source, `media[${i}]`)));
      const message = { role: 'user', content: [...pieces, text(prompt)] };
      const { load_image, max_bytes } = options.processor_options ?? {};
      const messages = await holdMedia([message], { load_image, max_bytes, signal });
      return ask(this, messages, options, emit, signal);
    }, signal);
  }

  /** A new conversation. Any number of them go on side by side over the same weights. */
  chat(options: SessionOptions = {}): ChatSession {
    return new ChatSession(this, options);
  }

  /**
   * A session that was saved, of this model or another; where it was saved with its cache and of the same weights, it goes on
   * without computing anything again.
   * @throws CheckpointError for bytes that are no saved session; AbortError
   */
  restore(bytes: Uint8Array, { signal }: { signal?: AbortSignal } = {}): Promise<ChatSession> {
    return ChatSession.restore(this, bytes, signal);
  }

  /** Frees the engine with the weights and ends its workers. Answers under way reject with DisposedError. */
  dispose(): void {
    this.model.dispose();
    this.feature_cache.clear();
  }
}
