/** This project, through its public classes (the bare product through its engine, which has no public form). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SmolVLMError } from '../../../src/errors.js';
import {
  type DTypeOption,
  SmolVLMForConditionalGeneration,
  SmolVLMVisionTransformer,
} from '../../../src/index.js';
import { Engine as Wasm } from '../../../src/runtime/engine.js';
import { Ops } from '../../../src/runtime/ops.js';
import {
  type Engine,
  type EngineSettings,
  type Session,
  stretches,
  timed,
  tokensToMake,
  Unsupported,
} from '../engine.js';
import { pictureIds, promptIds, tilePixels } from '../prompts.js';
import { type Group, MATMUL, type Work } from '../works.js';

interface Paths {
  readonly checkpoint: string;
}

type Measure = (work: Work, run: number) => Promise<number[]>;
type Opened = Omit<Session, 'version'>;

export const engine: Engine<Paths> = {
  async files(group, _, files) {
    if (group === 'matmul') return { checkpoint: '' };
    return { checkpoint: group === 'text' ? (await files.smollm2()).hf : await files.full256M() };
  },
  async open(group, settings, { checkpoint }) {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    const threads = threadCount();
    try {
      const opened = await OPEN[group](optionsOf(settings), checkpoint);
      return { ...withThreadCheck(opened, threads, settings.threads), version: `smolvlm-wasm ${version}` };
    } catch (error) {
      if (error instanceof SmolVLMError && error.name === 'InputError') throw new Unsupported(error.message);
      throw error;
    }
  },
};

/**
 * As `from_pretrained` takes them. What is measured again and again is computed again and again, and position ids run
 * 0 … 31 over a tile, as in the peers' graphs, whatever the weights are.
 */
function optionsOf({ dtype, threads, relaxed = false }: EngineSettings) {
  const position_dtype = 'bfloat16' as const;
  const noCaches = { prefix_cache_bytes: 0, image_cache_bytes: 0 };
  return { dtype: dtype as DTypeOption, threads, relaxed, position_dtype, ...noCaches };
}

const OPEN: Record<Group, (options: ReturnType<typeof optionsOf>, checkpoint: string) => Promise<Opened>> = {
  matmul: openMatmul,
  tile: openTile,
  text: openText,
  picture: openPicture,
};

async function openMatmul({ dtype, relaxed, threads }: ReturnType<typeof optionsOf>): Promise<Opened> {
  if (dtype !== 'float32') throw new Unsupported(`the bare product is measured in float32, not ${dtype}`);
  const { M, K, N } = MATMUL;
  const wasm = await Wasm.create({ relaxed, threads });
  const ops = new Ops(wasm);
  const pointer = wasm.allocateWeights(4 * N * K);
  const value = (i: number) => ((i * 7919) % 1000) / 5000 - 0.1;
  wasm.f32(pointer, N * K).forEach((_, i, all) => {
    all[i] = value(i);
  });
  const weight = { name: 'w', dtype: 'F32', layout: 'panel', shape: [N, K], N, K, pointer } as const;
  const x = Float32Array.from({ length: M * K }, (_, i) => value(i));
  return {
    measure: async () => [
      await timed(() =>
        wasm.run(function* () {
          yield* ops.linear(wasm.upload(x, [M, K]), { weight });
        }),
      ),
    ],
    close: async () => wasm.dispose(),
  };
}

async function openTile(options: ReturnType<typeof optionsOf>, checkpoint: string): Promise<Opened> {
  const model = await SmolVLMVisionTransformer.from_pretrained(checkpoint, options);
  let output: ArrayLike<number> | undefined;
  const measure: Measure = async (_, run) => [
    await timed(async () => {
      const pixel_values = { dims: [1, 3, 512, 512], data: tilePixels(run) };
      output = (await model.forward({ pixel_values })).last_hidden_state.data as Float32Array;
    }),
  ];
  return {
    measure,
    output: () => output,
    close: async () => model.dispose(),
  };
}

async function openText(options: ReturnType<typeof optionsOf>, checkpoint: string): Promise<Opened> {
  const model = await SmolVLMForConditionalGeneration.from_pretrained(checkpoint, options);
  const measure: Measure = async (work, run) => {
    const ids = promptIds(checkpoint, work.context as number, run);
    const count = tokensToMake(work);
    const times: number[] = [];
    // The prompt comes first.
    const streamer = { put: () => times.push(performance.now()), end: () => {} };
    const input_ids = { dims: [1, ids.length], data: Int32Array.from(ids) };
    const started = performance.now();
    await model.generate({ input_ids, max_new_tokens: count, min_new_tokens: count, streamer });
    return stretches(work, started, times.slice(1));
  };
  return { measure, close: async () => model.dispose() };
}

async function openPicture(options: ReturnType<typeof optionsOf>, checkpoint: string): Promise<Opened> {
  const model = await SmolVLMForConditionalGeneration.from_pretrained(checkpoint, options);
  const measure: Measure = async (_, run) => {
    const ids = pictureIds(run);
    const pixel_values = { dims: [1, 1, 3, 512, 512], data: tilePixels(run) };
    const input_ids = { dims: [1, ids.length], data: Int32Array.from(ids) };
    return [await timed(() => model.generate({ input_ids, pixel_values, max_new_tokens: 1 }))];
  };
  return { measure, close: async () => model.dispose() };
}

/** Threads of this process, where the system says. */
function threadCount(): number | undefined {
  try {
    return Number(readFileSync(join('/proc/self/status'), 'utf8').match(/^Threads:\s+(\d+)/m)?.[1]);
  } catch {
    return undefined;
  }
}

/** An option that is passed over in silence must not give a figure: with several threads there must be more of them. */
function withThreadCheck(opened: Opened, before: number | undefined, threads: number): Opened {
  const measure: Measure = async (work, run) => {
    const seconds = await opened.measure(work, run);
    const now = threadCount();
    if (threads > 1 && before !== undefined && now !== undefined && now <= before) {
      throw new Unsupported(`threads: ${threads} started no thread`);
    }
    return seconds;
  };
  return { ...opened, measure };
}
