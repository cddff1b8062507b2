/** `apply_chat_template`: conversations to prompts, and on to the model's inputs. */
import { InputError } from '../errors.js';
import {
  type ChatMessage,
  chooseChatTemplate,
  cutAfterFinalText,
  normalizeMessages,
  renderChatTemplate,
} from './chat-template.js';
import { conversationMedia } from './message-media.js';
import type { ProcessedInputs, SmolVLMProcessor } from './processor.js';
import type { ChatOptions, TokenizedChatOptions } from './processor-chat-options.js';
import type { CallOptions } from './processor-options.js';
import type { IdTensor } from './text-batch.js';
import { VIDEO_CHAT_TEMPLATE } from './video/prompt.js';

export type Conversation = readonly ChatMessage[];

export interface Rendered {
  conversations: readonly Conversation[];
  prompts: string[];
  batched: boolean;
}

/** A list of lists is a batch. Conversations with a video have the reference's template for those, unless one is given. */
export function renderChat(
  processor: SmolVLMProcessor,
  conversation: Conversation | readonly Conversation[],
  options: ChatOptions & { return_assistant_tokens_mask?: boolean },
): Rendered {
  const { add_generation_prompt = false, continue_final_message = false } = options;
  if (continue_final_message && (add_generation_prompt || options.return_assistant_tokens_mask)) {
    const other = add_generation_prompt ? 'add_generation_prompt' : 'return_assistant_tokens_mask';
    throw new InputError({
      what: `continue_final_message and ${other} exclude each other`,
      where: 'continue_final_message',
      expected: 'one of the two',
      got: 'both',
    });
  }
  const batched = Array.isArray(conversation) && Array.isArray(conversation[0]);
  const conversations = (batched ? conversation : [conversation]) as readonly Conversation[];
  const hasVideo = conversations.some((messages) =>
    normalizeMessages(messages).some(({ content }) => content.some(({ type }) => type === 'video')),
  );
  const asked = options.chat_template ?? (hasVideo ? VIDEO_CHAT_TEMPLATE : undefined);
  const template = chooseChatTemplate(processor.chat_template, asked);
  if (options.return_assistant_tokens_mask && /\{%-?\s*generation\s*-?%\}/.test(template)) {
    throw new InputError({
      what: 'return_assistant_tokens_mask is not supported for this template',
      where: 'return_assistant_tokens_mask',
      expected: 'a template without {% generation %}: the tokenizer keeps no offsets',
      got: '{% generation %}',
    });
  }
  const variables = {
    ...processor.tokenizer.special_tokens_map,
    tools: options.tools ?? null,
    documents: options.documents ?? null,
    ...options.variables,
    add_generation_prompt,
  };
  const prompts = conversations.map((messages) => {
    const prompt = renderChatTemplate(template, messages, variables);
    return continue_final_message ? cutAfterFinalText(prompt, messages) : prompt;
  });
  return { conversations, prompts, batched };
}

/** `tokenize: true`. */
export async function processChat(
  processor: SmolVLMProcessor,
  conversation: Conversation | readonly Conversation[],
  options: TokenizedChatOptions,
): Promise<IdTensor | (ProcessedInputs & { assistant_masks?: IdTensor })> {
  const { conversations, prompts } = renderChat(processor, conversation, options);
  const {
    tokenize: _,
    return_dict = true,
    return_assistant_tokens_mask,
    add_generation_prompt: _prompt,
    continue_final_message: _continue,
    chat_template: _template,
    variables: _variables,
    tools: _tools,
    documents: _documents,
    images,
    videos,
    ...rest
  } = options;
  const media = await conversationMedia(conversations, rest);
  const some = <T>(found: T[][], given: T[][]) => (found.some((list) => list.length > 0) ? found : given);
  // The template brings its own special tokens, the beginning of the text included.
  const { bos_token } = processor.tokenizer;
  const ownBos = bos_token !== undefined && prompts[0].startsWith(bos_token);
  const outputs = await processor.process({
    ...rest,
    ...(ownBos && !asks(rest, 'text_kwargs', 'add_special_tokens') && { add_special_tokens: false }),
    ...(!asks(rest, 'videos_kwargs', 'do_sample_frames') && { do_sample_frames: sampling(processor, rest) }),
    text: prompts,
    images: some(media.images, images as never),
    videos: some(media.videos, videos as never),
  });
  if (!return_dict) return outputs.input_ids;
  if (!return_assistant_tokens_mask) return outputs;
  const { data, dims } = outputs.input_ids;
  return { ...outputs, assistant_masks: { data: new BigInt64Array(data.length), dims: [...dims] } };
}

/**
 * As in the reference, frames are sampled wherever it is known how many. What the checkpoint says of that leaves videos
 * alone whose rate nobody knows (the reference raises); what the call says does not.
 */
function sampling({ video_processor }: SmolVLMProcessor, options: CallOptions): boolean | 'auto' {
  const asked = (name: string) => asks(options, 'videos_kwargs', name);
  if (asked('num_frames') || asked('fps')) return true;
  return video_processor.num_frames !== undefined || video_processor.fps !== undefined ? 'auto' : false;
}

/** Whether an option is given, flat or by kind. */
function asks(options: CallOptions, kind: 'text_kwargs' | 'videos_kwargs', name: string): boolean {
  const { [name]: flat, [kind]: nested } = options as Record<string, unknown>;
  return flat !== undefined || (nested as Record<string, unknown> | undefined)?.[name] !== undefined;
}
