/**
 * @huggingface/transformers: in Node it runs onnxruntime-node (a version of its own), and adds its generation loop and its
 * models' plumbing. No hub: its files are laid out as it expects them in a local folder.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Engine, type EngineSettings, stretches, timed, tokensToMake, Unsupported } from '../engine.js';
import type { Files } from '../files.js';
import type { GraphDtype } from '../onnx/graph.js';
import { loadPeer } from '../packages.js';
import { pictureIds, promptIds, tilePixels } from '../prompts.js';
import type { Work } from '../works.js';

interface Transformers {
  readonly env: { allowRemoteModels: boolean; allowLocalModels: boolean; localModelPath: string };
  readonly Tensor: new (type: string, data: ArrayLike<unknown>, dims: readonly number[]) => unknown;
  readonly AutoModelForCausalLM: Loader;
  readonly SmolVLMForConditionalGeneration: Loader;
}
interface Loader {
  from_pretrained(name: string, options: object): Promise<Model>;
}
interface Model {
  generate(options: object): Promise<unknown>;
  dispose(): Promise<unknown>;
}

export interface Paths {
  readonly folder: string;
  readonly name: string;
  /** The checkpoint folder whose tokenizer the prompts are made with. */
  readonly vocabulary: string;
}

/** The library's name for a format, and what it puts at the end of the files' names. */
export const DTYPES: Readonly<Record<string, { dtype: string; suffix: string }>> = {
  float32: { dtype: 'fp32', suffix: '' },
  int8: { dtype: 'q8', suffix: '_quantized' },
};

export const engine: Engine<Paths> = {
  async files(group, settings, files) {
    if (DTYPES[settings.dtype] === undefined) throw new Unsupported(`dtype ${settings.dtype}`);
    if (group !== 'text' && group !== 'picture') throw new Unsupported('whole models only');
    return group === 'text' ? textFiles(settings, files) : pictureFiles(settings, files);
  },
  async open(group, { dtype, threads }, { folder, name, vocabulary }) {
    const { module, version } = await loadPeer<Transformers>('@huggingface/transformers');
    Object.assign(module.env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: folder });
    const session_options = { intraOpNumThreads: threads, interOpNumThreads: 1 };
    const options = { device: 'cpu', dtype: DTYPES[dtype].dtype, session_options };
    const loader = group === 'text' ? module.AutoModelForCausalLM : module.SmolVLMForConditionalGeneration;
    const model = await loader.from_pretrained(name, options);
    const measure = { text: measureText, picture: measurePicture }[group as 'text' | 'picture'];
    return {
      version,
      measure: (work, run) => measure(module, model, vocabulary, work, run),
      close: async () => {
        await model.dispose();
      },
    };
  },
};

async function textFiles({ dtype }: EngineSettings, files: Files): Promise<Paths> {
  const { hf } = await files.smollm2();
  const { text_config } = JSON.parse(readFileSync(join(hf, 'config.json'), 'utf8'));
  const graphs = { model: await files.decoder(dtype as GraphDtype) };
  return { ...layOut(files, 'smollm2', text_config, dtype, graphs), vocabulary: hf };
}

async function pictureFiles({ dtype }: EngineSettings, files: Files): Promise<Paths> {
  const folder = await files.full256M();
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const { vision, embedding, decoder } = await files.picture(dtype as GraphDtype);
  const graphs = { vision_encoder: vision, embed_tokens: embedding, decoder_model_merged: decoder };
  return { ...layOut(files, '256m', { ...config, model_type: 'smolvlm' }, dtype, graphs), vocabulary: '' };
}

function layOut(files: Files, name: string, config: object, dtype: string, graphs: Record<string, string>) {
  const folder = join(files.folder, 'transformers-js');
  mkdirSync(join(folder, name, 'onnx'), { recursive: true });
  writeFileSync(join(folder, name, 'config.json'), JSON.stringify(config));
  writeFileSync(
    join(folder, name, 'generation_config.json'),
    JSON.stringify({ eos_token_id: 2, pad_token_id: 2 }),
  );
  for (const [graph, path] of Object.entries(graphs)) {
    const link = join(folder, name, 'onnx', `${graph}${DTYPES[dtype].suffix}.onnx`);
    if (existsSync(link)) rmSync(link);
    symlinkSync(path, link);
  }
  return { folder, name };
}

async function measureText(
  { Tensor }: Transformers,
  model: Model,
  vocabulary: string,
  work: Work,
  run: number,
): Promise<number[]> {
  const ids = promptIds(vocabulary, work.context as number, run);
  const count = tokensToMake(work);
  const times: number[] = [];
  // The prompt comes first.
  const streamer = { put: () => times.push(performance.now()), end: () => {} };
  const integers = (values: readonly number[]) => new Tensor('int64', values.map(BigInt), [1, values.length]);
  const inputs = { input_ids: integers(ids), attention_mask: integers(ids.map(() => 1)) };
  const started = performance.now();
  await model.generate({
    ...inputs,
    max_new_tokens: count,
    min_new_tokens: count,
    do_sample: false,
    streamer,
  });
  return stretches(work, started, times.slice(1));
}

async function measurePicture(
  { Tensor }: Transformers,
  model: Model,
  _: string,
  __: Work,
  run: number,
): Promise<number[]> {
  const ids = pictureIds(run);
  const integers = (values: readonly number[]) => new Tensor('int64', values.map(BigInt), [1, values.length]);
  const inputs = {
    input_ids: integers(ids),
    attention_mask: integers(ids.map(() => 1)),
    pixel_values: new Tensor('float32', tilePixels(run), [1, 1, 3, 512, 512]),
    pixel_attention_mask: new Tensor('bool', new Uint8Array(512 * 512).fill(1), [1, 1, 512, 512]),
  };
  return [await timed(() => model.generate({ ...inputs, max_new_tokens: 1, do_sample: false }))];
}
