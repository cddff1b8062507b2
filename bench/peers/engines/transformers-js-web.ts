/**
 * @huggingface/transformers in Chromium: its browser build, with the onnxruntime-web inside it on the `wasm` device, over
 * the same files as in Node.
 */
import { join } from 'node:path';
import { openPage } from '../chromium.js';
import { type Engine, stretches, tokensToMake } from '../engine.js';
import { PEERS, peerVersion } from '../packages.js';
import { pictureIds, promptIds, tilePixels } from '../prompts.js';
import { DTYPES, engine as inNode, type Paths } from './transformers-js.js';

/** What the page's script leaves on `window`. */
interface Opened {
  readonly Tensor: new (type: string, data: ArrayLike<unknown>, dims: readonly number[]) => unknown;
  readonly model: { generate(options: object): Promise<unknown> };
}

interface Settings {
  readonly name: string;
  readonly loader: 'AutoModelForCausalLM' | 'SmolVLMForConditionalGeneration';
  readonly dtype: string;
  readonly threads: number;
}

interface Inputs {
  readonly ids: readonly number[];
  /** New tokens. */
  readonly count: number;
  /** [3, 512, 512]. */
  readonly pixels?: readonly number[];
}

export const engine: Engine<Paths> = {
  files: inNode.files,
  async open(group, { dtype, threads }, { folder, name, vocabulary }) {
    const modules = join(PEERS, 'node_modules');
    const page = await openPage({
      transformers: join(modules, '@huggingface/transformers/dist'),
      onnxruntime: join(modules, 'onnxruntime-web/dist'),
      models: folder,
    });
    const loader = group === 'text' ? 'AutoModelForCausalLM' : 'SmolVLMForConditionalGeneration';
    await page.evaluate(openInPage, { name, loader, dtype: DTYPES[dtype].dtype, threads });
    let peak: number | null = null;
    return {
      version: `@huggingface/transformers ${peerVersion('@huggingface/transformers')} in Chromium`,
      async measure(work, run) {
        const isText = group === 'text';
        const inputs: Inputs = isText
          ? { ids: promptIds(vocabulary, work.context as number, run), count: tokensToMake(work) }
          : { ids: pictureIds(run), count: 1, pixels: Array.from(tilePixels(run)) };
        const times = await page.evaluate(generateInPage, inputs);
        peak = page.peakBytes();
        const [started, ended] = [times[0], times[times.length - 1]];
        return isText ? stretches(work, started, times.slice(1, -1)) : [(ended - started) / 1000];
      },
      peakBytes: () => peak,
      close: () => page.close(),
    };
  },
};

/** Runs in the page. */
async function openInPage({ name, loader, dtype, threads }: Settings): Promise<void> {
  const path = '/transformers/transformers.js';
  const module = await import(path);
  const { env, Tensor } = module;
  Object.assign(env, {
    allowRemoteModels: false,
    allowLocalModels: true,
    localModelPath: '/models/',
    useBrowserCache: false,
    useWasmCache: false,
  });
  Object.assign(env.backends.onnx.wasm, { wasmPaths: '/onnxruntime/', numThreads: threads });
  const model = await module[loader].from_pretrained(name, { device: 'wasm', dtype });
  Object.assign(window, { opened: { Tensor, model } });
}

/** Runs in the page. @returns milliseconds: of the start, of each token, of the end */
async function generateInPage({ ids, count, pixels }: Inputs): Promise<number[]> {
  const { Tensor, model } = (window as unknown as { opened: Opened }).opened;
  const integers = (values: readonly number[]) => new Tensor('int64', values.map(BigInt), [1, values.length]);
  const times: number[] = [];
  const inputs: Record<string, unknown> = {
    input_ids: integers(ids),
    attention_mask: integers(ids.map(() => 1)),
  };
  if (pixels) {
    inputs.pixel_values = new Tensor('float32', Float32Array.from(pixels), [1, 1, 3, 512, 512]);
    inputs.pixel_attention_mask = new Tensor('bool', new Uint8Array(512 * 512).fill(1), [1, 1, 512, 512]);
  }
  // The prompt is put first, before anything is computed.
  const streamer = { put: () => times.push(performance.now()), end: () => {} };
  const started = performance.now();
  const lengths = { max_new_tokens: count, min_new_tokens: count, do_sample: false };
  await model.generate({ ...inputs, ...lengths, streamer });
  return [started, ...times.slice(1), performance.now()];
}
