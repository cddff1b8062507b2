/**
 * A video and a question. Here the video is frames in memory, three seconds at eight frames a second, so that nothing has
 * to be installed; `{ type: 'video', path: 'video.mp4' }` reads a file through the ffmpeg on the path, or WebCodecs in a
 * browser. The embedded checkpoint was trained on single pictures, so its answer is that of a frame.
 */
import { fileURLToPath } from 'node:url';
import { AutoModelForImageTextToText, AutoProcessor } from 'smolvlm-wasm';

const folder = process.argv[2] ?? fileURLToPath(new URL('../checkpoints/smolvlm-shapes', import.meta.url));
const processor = await AutoProcessor.from_pretrained(folder);
const model = await AutoModelForImageTextToText.from_pretrained(folder);

const video = Array.from({ length: 24 }, (_, t) => frame(t));
const conversation = [
  {
    role: 'user',
    content: [
      { type: 'video', video },
      { type: 'text', text: 'Describe this video in detail' },
    ],
  },
];
const { video_metadata, ...inputs } = await processor.apply_chat_template(conversation, {
  add_generation_prompt: true,
  tokenize: true,
  return_dict: true,
  video_metadata: { total_num_frames: video.length, fps: 8, duration: video.length / 8 },
  do_sample_frames: true,
  num_frames: 8,
  fps: 2,
  return_metadata: true,
});
const { frames_indices } = video_metadata[0];
console.log(`${inputs.pixel_values.dims[1]} frames of ${video.length}: ${frames_indices.join(', ')}`);
const generated_ids = await model.generate({ ...inputs, do_sample: false, max_new_tokens: 48 });
console.log(processor.batch_decode(generated_ids, { skip_special_tokens: true })[0]);
model.dispose();

/** A red disc that crosses a light blue picture. */
function frame(t) {
  const [width, height, radius] = [64, 64, 10];
  const [x0, y0] = [12 + t * 1.7, 32];
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    const inside = (x - x0) ** 2 + (y - y0) ** 2 <= radius ** 2;
    data.set(inside ? [220, 30, 40] : [173, 216, 230], i * 3);
  }
  return { data, width, height, channels: 3 };
}
