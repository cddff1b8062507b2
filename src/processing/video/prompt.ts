/** The text that stands for a video: `SmolVLMProcessor.expand_text_with_video_tokens`. */
import { InputError } from '../../errors.js';
import { type ImagePromptTokens, imagePromptString } from '../image-prompt.js';
import { frameTimes, type VideoMetadata } from './metadata.js';
import { numberWords } from './number-words.js';

/** What the reference takes a video's rate for when nobody says it. */
export const DEFAULT_FPS = 24;

/**
 * The chat template that the reference uses for conversations with a video, whatever the checkpoint's own says: roles
 * capitalised, a space after the colon unless a picture follows, `<video>` where a video stands.
 */
export const VIDEO_CHAT_TEMPLATE = [
  '<|im_start|>',
  "{% for message in messages %}{{ message['role'] | capitalize }}",
  "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}",
  "{% for piece in message['content'] %}",
  "{% if piece['type'] == 'text' %}{{ piece['text'] }}",
  "{% elif piece['type'] in ['image', 'video'] %}{{ '<' + piece['type'] + '>' }}",
  '{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}',
  "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
].join('');

/**
 * How many frames, how long the video is, and each frame's image tokens behind its time. The number is that of the
 * frames in `metadata` (the reference says the batch's longest; it refuses batches where they differ). Throws InputError
 * where the frames are unknown.
 */
export function videoPrompt(metadata: VideoMetadata, tokens: ImagePromptTokens): string {
  const times = frameTimes({ ...metadata, fps: metadata.fps ?? DEFAULT_FPS });
  const seconds = Math.trunc(metadata.duration ?? times[times.length - 1] ?? 0);
  const count = numberWords(times.length);
  const frame = imagePromptString(0, 0, tokens);
  const intro = `You are provided the following series of ${count} frames from a ${clock(seconds)} [H:MM:SS] video.\n`;
  const frames = times.map((time) => `\nFrame from ${minutes(time)}:${frame}`);
  return `${intro}${frames.join('')}\n\n`;
}

/**
 * Every `<video>` of `text` in turn replaced by its prompt. Throws InputError unless there is one metadata for each.
 */
export function expandVideoTokens(
  text: string,
  videos: readonly VideoMetadata[],
  tokens: ImagePromptTokens,
  videoToken = '<video>',
): string {
  const parts = text.split(videoToken);
  if (parts.length !== videos.length + 1) {
    throw new InputError({
      what: `number of ${videoToken} in the text and of videos differ`,
      where: 'text, videos',
      expected: `one ${videoToken} per video: ${videos.length}`,
      got: String(parts.length - 1),
    });
  }
  return parts.map((part, i) => (i === 0 ? part : videoPrompt(videos[i - 1], tokens) + part)).join('');
}

const two = (value: number) => String(value).padStart(2, '0');

/** "MM:SS", whole seconds begun. */
function minutes(time: number): string {
  const rest = time % 60;
  return `${two(Math.round((time - rest) / 60))}:${two(Math.trunc(rest))}`;
}

/** Python's `str(timedelta(seconds=…))`. */
function clock(seconds: number): string {
  const days = Math.floor(seconds / 86400);
  const rest = seconds % 86400;
  const time = `${Math.floor(rest / 3600)}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
  return days === 0 ? time : `${days} day${days === 1 ? '' : 's'}, ${time}`;
}
