/** `SmolVLMProcessor.__call__`: its checks, the pictures and videos, and the prompts that stand for them. */
import { checkSignal, InputError } from '../errors.js';
import { isArrayInput } from './fast/planes.js';
import { type ImageInput, nestImages } from './image-input.js';
import type { ImageFeatures } from './image-processor.js';
import { type FastPreprocessOptions, SmolVLMImageProcessorFast } from './image-processor-fast.js';
import { countImageTokens, imagePromptString } from './image-prompt.js';
import { loadPicture, loadVideo, type MediaOptions, type Picture } from './message-media.js';
import { paced } from './paced.js';
import type { SmolVLMProcessor } from './processor.js';
import { mergeMedia } from './processor-mixed.js';
import {
  checkSlowImageOptions,
  type ImageOptions,
  type ImageSource,
  type ImageSources,
  type ProcessOptions,
  type SortedOptions,
  sortOptions,
} from './processor-options.js';
import { encodeBatch, type TextInputs, type TextSequence } from './text-batch.js';
import type { VideoMetadata } from './video/metadata.js';
import type { VideoInput, VideosInput } from './video/open.js';
import { videoPrompt } from './video/prompt.js';
import type { VideoFeatures } from './video/stack.js';
import { nestVideos } from './video-input.js';

/** Pixels of pictures [batch, images, …] or of videos [videos, frames, …]; of a batch of both, [batch, images, …]. */
export type MediaOutputs = Partial<
  Pick<ImageFeatures, 'pixel_values' | 'pixel_attention_mask' | 'rows' | 'cols' | 'decoders'>
> & {
  /** With `return_metadata`: of each video. */
  video_metadata?: VideoMetadata[];
};

export interface Pictures {
  nested: Picture[][];
  features: ImageFeatures;
}

export interface Videos {
  nested: VideoInput[][];
  features: VideoFeatures & { video_metadata: VideoMetadata[] };
}

export async function processInputs(
  processor: SmolVLMProcessor,
  { text, images, videos, audio, ...rest }: ProcessOptions,
): Promise<Partial<TextInputs> & MediaOutputs> {
  if (isGiven(audio)) {
    const got = Object.prototype.toString.call(audio).slice(8, -1);
    throw new InputError({ what: 'audio is not supported', where: 'audio', expected: 'nothing', got });
  }
  if (!isGiven(text) && !isGiven(images) && !isGiven(videos)) {
    const expected = 'text, images or videos';
    throw new InputError({
      what: 'nothing to process',
      where: 'text, images, videos',
      expected,
      got: 'none',
    });
  }
  if (!isGiven(text) && isGiven(images) && isGiven(videos)) {
    throw new InputError({
      what: 'images and videos without a text that says how they follow each other',
      where: 'images, videos',
      expected: 'exactly one of the two, or a text',
      got: 'both',
    });
  }
  const options = sortOptions(rest);
  const { signal } = options.media;
  checkSignal(signal);
  const texts = isGiven(text) ? textList(text, options.text.is_split_into_words === true) : undefined;
  const pictures = isGiven(images) ? await loadPictures(images, options.media) : undefined;
  const films = isGiven(videos) ? await loadVideos(videos, options.media) : undefined;
  if (texts) {
    checkCounts(processor.image_token, 'images', texts, pictures, films === undefined);
    // The video token is no token: without videos it is a word.
    if (films) checkCounts(processor.video_token, 'videos', texts, films, true);
  }
  const picturesDone = pictures?.some((list) => list.length > 0)
    ? { nested: pictures, features: await imageFeatures(processor, pictures, options) }
    : undefined;
  const videosDone = films?.some((list) => list.length > 0)
    ? { nested: films, features: await videoFeatures(processor, films, options) }
    : undefined;
  const media = await mediaOutputs(processor, texts, picturesDone, videosDone, options);
  if (!texts) return media;
  const prompts = expand(processor, texts, picturesDone, videosDone);
  const encoded = await paced(encodeBatch(processor.tokenizer, prompts, options.text), signal);
  checkImageTokens(processor, prompts, encoded);
  return { ...encoded, ...media };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}

function textList(text: NonNullable<ProcessOptions['text']>, split: boolean): TextSequence[] {
  let list: readonly TextSequence[];
  if (typeof text === 'string') list = [text];
  else if (!Array.isArray(text)) {
    const expected = split ? 'a list of words, or of lists of words' : 'a text or a list of texts';
    throw new InputError({ what: 'not a text', where: 'text', expected, got: typeof text });
  } else if (split && text.length > 0 && text.every((word) => typeof word === 'string')) {
    list = [text as string[]];
  } else list = text as readonly TextSequence[];
  if (list.length === 0) {
    throw new InputError({ what: 'empty batch', where: 'text', expected: 'at least one text', got: '0' });
  }
  for (const [row, value] of list.entries()) {
    const where = Array.isArray(text) ? `text[${row}]` : 'text';
    const isWords = Array.isArray(value) && value.every((word) => typeof word === 'string');
    const empty = value === '' || (isWords && value.join('') === '');
    if (!empty && (split ? isWords : typeof value === 'string')) continue;
    throw new InputError({
      what: empty ? 'empty prompt' : 'not a text',
      where,
      expected: split ? 'a list of words' : isWords ? 'a text, or is_split_into_words: true' : 'a text',
      got: value === '' ? 'an empty string' : empty ? 'no words' : isWords ? 'a list of words' : typeof value,
    });
  }
  return [...list];
}

async function loadPictures(images: ImageSources, options: MediaOptions): Promise<Picture[][]> {
  const nested = nestImages(splitArrays(images) as ImageInput) as ImageSource[][];
  const loaded: Picture[][] = [];
  for (const [s, list] of nested.entries()) {
    loaded.push([]);
    for (const [i, image] of list.entries()) {
      loaded[s].push(await loadPicture(image, options, `images[${s}][${i}]`));
    }
  }
  return loaded;
}

/** Arrays of four dims as lists of pictures, as `make_nested_list_of_images` takes them. */
function splitArrays(images: ImageSources): unknown {
  if (isArrayInput(images) && images.dims.length === 4) {
    const [count, ...dims] = images.dims;
    const size = dims.reduce((product, dim) => product * dim, 1);
    const picture = (i: number) => ({ data: images.data.subarray(i * size, (i + 1) * size), dims });
    return Array.from({ length: count }, (_, i) => picture(i));
  }
  const whole = (item: unknown) => isArrayInput(item) && item.dims.length === 4;
  if (!Array.isArray(images) || !images.some(whole)) return images;
  return (images as ImageSources[]).map((item) => splitArrays(item));
}

async function loadVideos(videos: VideosInput, options: MediaOptions): Promise<VideoInput[][]> {
  const loaded: VideoInput[][] = [];
  for (const [s, list] of nestVideos(videos).entries()) {
    loaded.push([]);
    for (const [i, video] of list.entries()) {
      loaded[s].push(await loadVideo(video, options, `videos[${s}][${i}]`));
    }
  }
  return loaded;
}

const count = (text: TextSequence, token: string) =>
  [text].flat().reduce((sum, part) => sum + countImageTokens(part, token), 0);

/** One token for each picture or video, row by row. */
function checkCounts(
  token: string,
  kind: 'images' | 'videos',
  texts: readonly TextSequence[],
  media: readonly (readonly unknown[])[] | undefined,
  alone: boolean,
): void {
  const inTexts = texts.map((text) => count(text, token));
  const numbers = media?.map((list) => list.length) ?? texts.map(() => 0);
  if (inTexts.length === numbers.length && inTexts.every((number, row) => number === numbers[row])) return;
  const things = kind === 'images' ? 'pictures' : 'videos';
  throw new InputError({
    what:
      media === undefined && alone
        ? `${token} in the text but no images or videos given`
        : `number of ${token} in the text and of ${things} differ`,
    where: `text, ${kind}`,
    expected: `one ${token} for each of the ${things}: ${numbers.join(', ')}`,
    got: inTexts.join(', '),
  });
}

async function imageFeatures(
  { image_processor }: SmolVLMProcessor,
  pictures: Picture[][],
  { images, media }: SortedOptions,
): Promise<ImageFeatures> {
  const { signal, feature_cache } = media;
  checkSignal(signal);
  const compute = async () => {
    // Prompts need rows and columns whether or not they are returned.
    if (image_processor instanceof SmolVLMImageProcessorFast) {
      const options = { ...images, signal, return_row_col_info: true } as FastPreprocessOptions;
      return (await image_processor.preprocess(pictures, options)) as ImageFeatures;
    }
    checkSlowImageOptions(images);
    return image_processor.preprocess(pictures, { ...(images as ImageOptions), signal });
  };
  return feature_cache?.features(pictures, images, compute) ?? compute();
}

async function videoFeatures(
  { video_processor }: SmolVLMProcessor,
  films: VideoInput[][],
  { videos, media }: SortedOptions,
): Promise<Videos['features']> {
  const { signal, max_bytes, feature_cache } = media;
  const limits = { ...(max_bytes !== undefined && { maxVideoBytes: max_bytes }), signal };
  const compute = async () => {
    const options = { ...limits, ...videos, return_metadata: true };
    return (await video_processor.preprocess(films.flat(), options)) as Videos['features'];
  };
  return feature_cache?.features(films, videos, compute) ?? compute();
}

async function mediaOutputs(
  processor: SmolVLMProcessor,
  texts: readonly TextSequence[] | undefined,
  pictures: Pictures | undefined,
  videos: Videos | undefined,
  options: SortedOptions,
): Promise<MediaOutputs> {
  const outputs: MediaOutputs = {};
  if (pictures) {
    const { rows, cols, ...features } = pictures.features;
    Object.assign(outputs, features, options.images.return_row_col_info === false ? {} : { rows, cols });
  }
  if (videos) {
    const { video_metadata, ...features } = videos.features;
    Object.assign(outputs, features, options.videos.return_metadata ? { video_metadata } : {});
  }
  if (pictures && videos && texts) {
    const merged = mergeMedia(processor, texts, pictures, videos);
    Object.assign(outputs, await paced(merged, options.media.signal));
  }
  return outputs;
}

/** `expand_text_with_image_tokens` and `expand_text_with_video_tokens`: every mark replaced, in turn. */
function expand(
  processor: SmolVLMProcessor,
  texts: readonly TextSequence[],
  pictures: Pictures | undefined,
  videos: Videos | undefined,
): TextSequence[] {
  let film = 0;
  return texts.map((text, row) => {
    let picture = 0;
    const images = (part: string) =>
      pictures === undefined
        ? part
        : replaceEach(part, processor.image_token, () => {
            const { rows, cols } = pictures.features;
            const at = picture++;
            return imagePromptString(rows[row][at], cols[row][at], processor);
          });
    // Between the videos: their own prompts have image tokens too.
    const replace = (part: string) => {
      if (!videos) return images(part);
      const between = part.split(processor.video_token).map(images);
      return between.reduce(
        (sum, next) => sum + videoPrompt(videos.features.video_metadata[film++], processor) + next,
      );
    };
    return typeof text === 'string' ? replace(text) : text.map(replace);
  });
}

function replaceEach(text: string, token: string, prompt: () => string): string {
  return text.split(token).reduce((sum, next) => sum + prompt() + next);
}

/** `_check_special_mm_tokens`: truncation must not have cut image tokens off. */
function checkImageTokens(
  { image_token, image_token_id }: SmolVLMProcessor,
  prompts: readonly TextSequence[],
  { input_ids: { data, dims } }: TextInputs,
): void {
  const id = BigInt(image_token_id);
  const inTexts = prompts.map((text) => count(text, image_token));
  const inIds = prompts.map((_, row) => {
    let found = 0;
    for (let i = row * dims[1]; i < (row + 1) * dims[1]; i++) if (data[i] === id) found++;
    return found;
  });
  if (inIds.every((number, row) => number === inTexts[row])) return;
  throw new InputError({
    what: `truncation cut ${image_token} tokens off`,
    where: 'truncation, max_length',
    expected: `a larger max_length, or no truncation: ${inTexts.join(', ')} ${image_token} in input_ids`,
    got: inIds.join(', '),
  });
}
