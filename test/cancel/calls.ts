/** Every public asynchronous call, as a table: what it is called with, and the memory that it works in. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AutoModelForImageTextToText,
  AutoProcessor,
  decodeImage,
  load_image,
  quantizeCheckpoint,
  SmolVLM,
  SmolVLMForConditionalGeneration,
  SmolVLMImageProcessor,
  SmolVLMImageProcessorFast,
  SmolVLMModel,
  type SmolVLMVisionConfig,
  SmolVLMVisionTransformer,
} from '../../src/index.js';
import type { Model } from '../../src/model/model.js';
import { tinyConfig } from '../surface/tiny.js';

export interface Call {
  readonly name: string;
  /** It must be cancelled by the signal. One that takes a `progress_callback` is aborted within its events, too. */
  readonly call: (signal: AbortSignal, progress_callback: () => void) => PromiseLike<unknown>;
  /** The model whose memory must be as before. */
  readonly model?: Model;
  /** What it made where it was not cancelled. */
  readonly drop?: (result: never) => void;
}

const FOLDER = 'checkpoints/smolvlm-shapes';
const read = (path: string) => new Uint8Array(readFileSync(path));
const jpeg = read('examples/pictures/shapes-on-checks.jpg');
const png = read('examples/pictures/shapes-on-blue.png');
const gif = read('test/fixtures/video/plain.gif');
const disposable = { drop: (made: { dispose(): void }) => made.dispose() } as Pick<Call, 'drop'>;
const target = () => mkdtempSync(join(tmpdir(), 'smolvlm-cancel-'));

export function innerOf(model: unknown): Model {
  return (model as { model: Model }).model;
}

/** Reading and processing. */
export async function processingCalls(): Promise<Call[]> {
  const processor = await AutoProcessor.from_pretrained(FOLDER);
  const file = join(target(), 'picture.png');
  writeFileSync(file, png);
  const url = `data:image/png;base64,${Buffer.from(png).toString('base64')}`;
  const frames = [png, png, jpeg, png];
  const content = [
    { type: 'image' as const, image: jpeg },
    { type: 'text' as const, text: 'What is this?' },
  ];
  const never = () => new Promise<Uint8Array>(() => {});
  const size = { size: { longest_edge: 512 }, max_image_size: { longest_edge: 128 } };
  return [
    { name: 'load_image, a path', call: (signal) => load_image(file, { signal }) },
    { name: 'load_image, a data URL', call: (signal) => load_image(url, { signal }) },
    { name: 'decodeImage, PNG', call: (signal) => decodeImage(png, { signal }) },
    { name: 'decodeImage, JPEG', call: (signal) => decodeImage(jpeg, { signal }) },
    {
      name: 'decodeImage, JPEG by the script decoder',
      call: (signal) => decodeImage(jpeg, { signal, decoder: 'script' }),
    },
    {
      name: 'SmolVLMImageProcessor.preprocess',
      call: (signal) => new SmolVLMImageProcessor(size).preprocess(jpeg, { signal }),
    },
    {
      name: 'SmolVLMImageProcessor.preprocess, a Blob',
      call: (signal) => new SmolVLMImageProcessor(size).preprocess(new Blob([png]), { signal }),
    },
    {
      name: 'SmolVLMImageProcessorFast.preprocess',
      call: (signal) => new SmolVLMImageProcessorFast(size).preprocess(png, { signal }),
    },
    {
      name: 'SmolVLMVideoProcessor.preprocess, frames',
      call: (signal) => processor.video_processor.preprocess(frames, { signal }),
    },
    {
      name: 'SmolVLMVideoProcessor.preprocess, GIF',
      call: (signal) => processor.video_processor.preprocess(gif, { signal }),
    },
    {
      name: 'processor.process',
      call: (signal) => processor.process({ text: '<image>a picture', images: [png], signal }),
    },
    {
      name: 'processor(…)',
      call: (signal) => processor([png], '<image>a picture', null, null, { signal }),
    },
    {
      name: 'processor.apply_chat_template',
      call: (signal) =>
        processor.apply_chat_template([{ role: 'user', content }], { tokenize: true, signal }),
    },
    {
      name: 'processor.save_pretrained',
      call: (signal) => processor.save_pretrained(target(), { signal }),
    },
    {
      name: 'AutoProcessor.from_pretrained',
      call: (signal) => AutoProcessor.from_pretrained(FOLDER, { signal }),
    },
    {
      name: 'load_image of one’s own that never answers',
      call: (signal) => {
        const images = ['https://example.invalid/a.png'];
        return processor.process({ text: '<image>', images, load_image: never, signal });
      },
    },
  ];
}

/** Loading, making, saving and quantising. */
export function loadingCalls(): Call[] {
  const config = tinyConfig();
  const loading = { threads: 1 };
  return [
    {
      name: 'SmolVLMForConditionalGeneration.from_pretrained',
      call: (signal) => SmolVLMForConditionalGeneration.from_pretrained(FOLDER, { ...loading, signal }),
      ...disposable,
    },
    {
      name: 'from_pretrained, int8',
      call: (signal) =>
        SmolVLMForConditionalGeneration.from_pretrained(FOLDER, { ...loading, dtype: 'int8', signal }),
      ...disposable,
    },
    {
      name: 'SmolVLMModel.from_pretrained',
      call: (signal) => SmolVLMModel.from_pretrained(FOLDER, { ...loading, signal }),
      ...disposable,
    },
    {
      name: 'SmolVLMVisionTransformer.from_pretrained',
      call: (signal) => SmolVLMVisionTransformer.from_pretrained(FOLDER, { ...loading, signal }),
      ...disposable,
    },
    {
      name: 'AutoModelForImageTextToText.from_pretrained',
      call: (signal) => AutoModelForImageTextToText.from_pretrained(FOLDER, { ...loading, signal }),
      ...disposable,
    },
    {
      name: 'SmolVLM.from_pretrained',
      call: (signal) => SmolVLM.from_pretrained(FOLDER, { ...loading, signal }),
      ...disposable,
    },
    {
      name: 'SmolVLMForConditionalGeneration.from_config',
      call: (signal) => SmolVLMForConditionalGeneration.from_config(config, { signal }),
      ...disposable,
    },
    {
      name: 'SmolVLMModel.from_config',
      call: (signal) => SmolVLMModel.from_config(config, { signal }),
      ...disposable,
    },
    {
      name: 'SmolVLMVisionTransformer.from_config',
      call: (signal) =>
        SmolVLMVisionTransformer.from_config(config.vision_config as SmolVLMVisionConfig, { signal }),
      ...disposable,
    },
    {
      name: 'quantizeCheckpoint',
      call: (signal) => quantizeCheckpoint(FOLDER, target(), { dtype: 'int8', signal }),
    },
  ];
}

/** What a model computes. */
export async function modelCalls(threads: number): Promise<Call[]> {
  const model = await SmolVLMForConditionalGeneration.from_pretrained(FOLDER, { threads });
  const base = await SmolVLMModel.from_pretrained(FOLDER, { threads });
  const tower = await SmolVLMVisionTransformer.from_pretrained(FOLDER, { threads });
  const processor = await AutoProcessor.from_pretrained(FOLDER);
  const vlm = new SmolVLM(model, processor);
  const inputs = await processor.process({ text: 'User:<image>What is this?', images: [png] });
  const { pixel_values, pixel_attention_mask } = inputs;
  const { dims, data } = pixel_values!;
  const tile = { dims: [1, ...dims.slice(2)], data: data.subarray(0, data.length / dims[1]) };
  const { past_key_values } = await model.forward({ ...inputs, use_cache: true });
  const legacy = past_key_values!.to_legacy_cache();
  past_key_values!.dispose();
  const { weight } = await model.get_input_embeddings();
  const rows = weight.dims[0];
  const made = { max_new_tokens: 6, min_new_tokens: 6 };
  const long = { max_new_tokens: 80, min_new_tokens: 80 };
  const session = vlm.chat({ system: 'Be brief.', ...made });
  const saved = await session.save();
  const every = { output_hidden_states: true, output_attentions: true };
  const of = (inside: { model: Model } | unknown) => ({ model: innerOf(inside) });
  const cache = {
    drop: (result: { past_key_values?: { dispose(): void } }) => result.past_key_values?.dispose(),
  };
  return [
    { name: 'ready', call: (signal) => model.ready({ signal }), ...of(model) },
    {
      name: 'forward',
      call: (signal) => model.forward({ ...inputs, signal }),
      ...of(model),
      ...(cache as Pick<Call, 'drop'>),
    },
    {
      name: 'forward, all outputs',
      call: (signal) => model.forward({ ...inputs, ...every, tap: () => {}, signal }),
      ...of(model),
      ...(cache as Pick<Call, 'drop'>),
    },
    {
      name: 'SmolVLMModel.forward',
      call: (signal) => base.forward({ ...inputs, ...every, signal }),
      ...of(base),
      ...(cache as Pick<Call, 'drop'>),
    },
    {
      name: 'SmolVLMVisionTransformer.forward',
      call: (signal) => tower.forward({ pixel_values: tile, ...every, signal }),
      ...of(tower),
    },
    {
      name: 'get_image_features',
      call: (signal) => model.get_image_features(pixel_values!, pixel_attention_mask, { signal }),
      ...of(model),
    },
    {
      name: 'generate, greedy',
      call: (signal) => model.generate({ ...inputs, ...made, signal }),
      ...of(model),
    },
    {
      name: 'generate, sampling',
      call: (signal) => model.generate({ ...inputs, ...made, do_sample: true, top_p: 0.9, seed: 1, signal }),
      ...of(model),
    },
    {
      name: 'generate, beams',
      call: (signal) => model.generate({ ...inputs, ...made, num_beams: 3, signal }),
      ...of(model),
    },
    {
      name: 'get_input_embeddings',
      call: (signal) => model.get_input_embeddings({ signal }),
      ...of(model),
    },
    {
      name: 'get_output_embeddings',
      call: (signal) => model.get_output_embeddings({ signal }),
      ...of(model),
    },
    {
      name: 'set_input_embeddings',
      call: (signal) => model.set_input_embeddings(weight, { signal }),
      ...of(model),
    },
    {
      name: 'resize_token_embeddings, to what there is',
      call: (signal) => model.resize_token_embeddings(rows, { signal }),
      ...of(model),
    },
    {
      name: 'from_legacy_cache',
      call: (signal) => model.from_legacy_cache(legacy, null, { signal }),
      ...of(model),
      drop: (made: { dispose(): void }) => made.dispose(),
    },
    { name: 'save_prefix', call: (signal) => model.save_prefix(inputs, signal), ...of(model) },
    {
      name: 'save_pretrained, to a Map',
      call: (signal) => model.save_pretrained(new Map(), { signal }),
      ...of(model),
    },
    {
      name: 'save_pretrained, to a folder',
      call: (signal) => model.save_pretrained(target(), { signal, max_shard_size: '1MB' }),
      ...of(model),
    },
    {
      name: 'SmolVLM.describe',
      call: (signal, progress_callback) =>
        vlm.describe(png, 'What is this?', { ...long, progress_callback, signal }),
      ...of(model),
    },
    {
      name: 'ChatSession.send',
      call: (signal, progress_callback) => vlm.chat(long).send('Hello', { progress_callback, signal }),
      ...of(model),
    },
    { name: 'ChatSession.save', call: (signal) => session.save({ signal, cache: true }), ...of(model) },
    { name: 'SmolVLM.restore', call: (signal) => vlm.restore(saved, { signal }), ...of(model) },
  ] as Call[];
}
