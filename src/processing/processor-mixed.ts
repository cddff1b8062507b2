/** Pictures and videos in one batch: the tiles and frames of each row, in the order of its text. */
import { InputError, MemoryError } from '../errors.js';
import { byRows, type Steps } from './paced.js';
import type { SmolVLMProcessor } from './processor.js';
import type { MediaOutputs, Pictures, Videos } from './processor-run.js';
import type { TextSequence } from './text-batch.js';

const MAX_OUTPUT_BYTES = 2 ** 32;

/** Consecutive images of one of the two tensors. */
interface Run {
  from: 'pictures' | 'videos';
  start: number;
  count: number;
}

/**
 * [batch, images, channels, height, width] of both, zeros at the end of shorter rows. The reference drops the videos.
 * Throws InputError where tiles and frames differ in size.
 */
export function* mergeMedia(
  processor: SmolVLMProcessor,
  texts: readonly TextSequence[],
  pictures: Pictures,
  videos: Videos,
): Steps<Pick<MediaOutputs, 'pixel_values' | 'pixel_attention_mask'>> {
  const sources = { pictures: pictures.features, videos: videos.features };
  const size = pictures.features.pixel_values.dims.slice(2);
  const frame = videos.features.pixel_values.dims.slice(2);
  if (String(size) !== String(frame)) {
    throw new InputError({
      what: 'tiles of pictures and frames of videos differ in size',
      where: 'max_image_size',
      expected: `the same for both: ${size.join('×')}`,
      got: frame.join('×'),
    });
  }
  const rows = runsOf(processor, texts, pictures, videos);
  const most = Math.max(...rows.map((runs) => runs.reduce((sum, { count }) => sum + count, 0)));
  const [channels, height, width] = size;
  const pixels = channels * height * width;
  const bytes = texts.length * most * pixels * 4;
  if (bytes > MAX_OUTPUT_BYTES) {
    const expected = `at most ${MAX_OUTPUT_BYTES} bytes of pixel_values`;
    throw new MemoryError({ what: 'batch too large', where: 'images, videos', expected, got: String(bytes) });
  }
  const data = new Float32Array(texts.length * most * pixels);
  const masks = sources.pictures.pixel_attention_mask && sources.videos.pixel_attention_mask;
  const edges = masks?.dims.slice(2) ?? [0, 0];
  const plane = edges[0] * edges[1];
  const mask = masks && new Uint8Array(texts.length * most * plane);
  for (const [row, runs] of rows.entries()) {
    let to = row * most;
    for (const { from, start, count } of runs) {
      const source = sources[from];
      const values = source.pixel_values.data;
      yield* byRows(count, pixels, (first, end) => {
        data.set(values.subarray((start + first) * pixels, (start + end) * pixels), (to + first) * pixels);
      });
      mask?.set(
        source.pixel_attention_mask!.data.subarray(start * plane, (start + count) * plane),
        to * plane,
      );
      to += count;
    }
  }
  return {
    pixel_values: { data, dims: [texts.length, most, channels, height, width] },
    pixel_attention_mask: mask && { data: mask, dims: [texts.length, most, edges[0], edges[1]] },
  };
}

/** Per text, where in the two tensors its pictures and videos are. */
function runsOf(
  { image_token, video_token }: SmolVLMProcessor,
  texts: readonly TextSequence[],
  { features: { rows, cols, pixel_values } }: Pictures,
  { features }: Videos,
): Run[][] {
  const perSample = pixel_values.dims[1];
  const perVideo = features.pixel_values.dims[1];
  let video = 0;
  return texts.map((text, row) => {
    const runs: Run[] = [];
    let picture = 0;
    let tile = row * perSample;
    for (const part of [text].flat()) {
      for (let at = 0; at < part.length; at++) {
        if (part.startsWith(image_token, at)) {
          const count = rows[row][picture] * cols[row][picture] + 1;
          runs.push({ from: 'pictures', start: tile, count });
          tile += count;
          picture++;
        } else if (part.startsWith(video_token, at)) {
          const count = (features.video_metadata[video].frames_indices as number[]).length;
          runs.push({ from: 'videos', start: video * perVideo, count });
          video++;
        }
      }
    }
    return runs;
  });
}
