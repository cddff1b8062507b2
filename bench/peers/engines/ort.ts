/** What onnxruntime-node and onnxruntime-web share: the same API over the same graphs. */
import { counterValues } from '../../../test/support/counter.js';
import { type EngineSettings, type Session, stretches, timed, tokensToMake, Unsupported } from '../engine.js';
import type { Files } from '../files.js';
import type { GraphDtype } from '../onnx/graph.js';
import { IMAGE_TOKEN, pictureIds, promptIds, tilePixels } from '../prompts.js';
import { type Group, MATMUL, type Work } from '../works.js';

/** onnxruntime's API as far as it is used here. */
export interface Ort {
  readonly env: { readonly versions: Record<string, string>; readonly wasm: { numThreads: number } };
  readonly Tensor: new (
    type: 'float32' | 'int64',
    data: Float32Array | BigInt64Array,
    dims: readonly number[],
  ) => OrtTensor;
  readonly InferenceSession: { create(path: string, options: object): Promise<OrtSession> };
}
interface OrtTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
  dispose(): void;
}
type Tensors = Record<string, OrtTensor>;
interface OrtSession {
  run(feeds: Tensors): Promise<Tensors>;
  release(): Promise<void>;
}

export interface OrtPaths {
  readonly sessions: Record<string, string>;
  readonly vocabulary?: string;
}

const DTYPES = ['float32', 'int8', 'int4'];

export async function ortFiles(group: Group, { dtype }: EngineSettings, files: Files): Promise<OrtPaths> {
  if (!DTYPES.includes(dtype)) throw new Unsupported(`dtype ${dtype}`);
  const graph = dtype as GraphDtype;
  if (group === 'matmul') return { sessions: { matmul: await files.matmul() } };
  if (group === 'tile') return { sessions: { tile: await files.tile(graph) } };
  if (group === 'picture') return { sessions: await files.picture(graph) };
  return { sessions: { decoder: await files.decoder(graph) }, vocabulary: (await files.smollm2()).hf };
}

export async function ortSession(
  ort: Ort,
  version: string,
  options: object,
  { sessions: paths, vocabulary }: OrtPaths,
): Promise<Session> {
  const sessions: Record<string, OrtSession> = {};
  for (const [name, path] of Object.entries(paths)) {
    sessions[name] = await ort.InferenceSession.create(path, options);
  }
  const run = new Runs(ort, sessions, vocabulary);
  return {
    version,
    measure: (work, count) => run[work.group](work, count),
    output: () => run.output,
    close: async () => {
      for (const session of Object.values(sessions)) await session.release();
    },
  };
}

const { M, K } = MATMUL;

/** The works, by group. */
class Runs {
  output: Float32Array | undefined;
  readonly #ort: Ort;
  readonly #sessions: Record<string, OrtSession>;
  readonly #vocabulary: string | undefined;
  #x: OrtTensor | undefined;

  constructor(ort: Ort, sessions: Record<string, OrtSession>, vocabulary: string | undefined) {
    this.#ort = ort;
    this.#sessions = sessions;
    this.#vocabulary = vocabulary;
  }

  async matmul(): Promise<number[]> {
    const values = () => counterValues('matmul.x', [M, K], { dtype: 'F32' }, 0, M * K) as Float32Array;
    this.#x ??= this.#floats(values(), [M, K]);
    return [await timed(() => this.#sessions.matmul.run({ x: this.#x as OrtTensor }))];
  }

  async tile(_: Work, run: number): Promise<number[]> {
    const pixel_values = this.#floats(tilePixels(run), [1, 3, 512, 512]);
    return [
      await timed(async () => {
        const { last_hidden_state } = await this.#sessions.tile.run({ pixel_values });
        this.output = last_hidden_state.data;
      }),
    ];
  }

  async text(work: Work, run: number): Promise<number[]> {
    const ids = promptIds(this.#vocabulary as string, work.context as number, run);
    const started = performance.now();
    const times = await this.#generate({ input_ids: this.#integers(ids) }, ids.length, tokensToMake(work));
    return stretches(work, started, times);
  }

  async picture(_: Work, run: number): Promise<number[]> {
    const ids = pictureIds(run);
    const pixels = this.#floats(tilePixels(run), [1, 1, 3, 512, 512]);
    return [
      await timed(async () => {
        const { image_features } = await this.#sessions.vision.run({ pixel_values: pixels });
        const { inputs_embeds } = await this.#sessions.embedding.run({ input_ids: this.#integers(ids) });
        const width = inputs_embeds.dims[2];
        inputs_embeds.data.set(image_features.data, ids.indexOf(IMAGE_TOKEN) * width);
        await this.#generate({ inputs_embeds }, ids.length, 1);
      }),
    ];
  }

  /** Greedy tokens over the cache that goes in and out of the graph. @returns the time at which each came */
  async #generate(prompt: Tensors, length: number, count: number): Promise<number[]> {
    const decoder = this.#sessions.decoder;
    const times: number[] = [];
    let past = this.#emptyCache();
    let tokens = prompt;
    for (let total = length; times.length < count; total++) {
      const attention_mask = this.#integers(Array(total).fill(1));
      const { logits, ...present } = await decoder.run({ ...tokens, ...past, attention_mask });
      this.output = logits.data;
      const next = argmax(logits.data);
      times.push(performance.now());
      for (const tensor of Object.values(past)) tensor.dispose();
      past = Object.fromEntries(
        Object.entries(present).map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]),
      );
      tokens = { input_ids: this.#integers([next]) };
    }
    for (const tensor of Object.values(past)) tensor.dispose();
    return times;
  }

  /** Of the one text model that all groups have: 30 layers, 3 heads of 64. */
  #emptyCache(): Tensors {
    const names = Array.from({ length: 30 }, (_, i) => [
      `past_key_values.${i}.key`,
      `past_key_values.${i}.value`,
    ]);
    return Object.fromEntries(
      names.flat().map((name) => [name, this.#floats(new Float32Array(0), [1, 3, 0, 64])]),
    );
  }

  #floats(data: Float32Array, dims: readonly number[]): OrtTensor {
    return new this.#ort.Tensor('float32', data, dims);
  }

  #integers(values: readonly number[]): OrtTensor {
    return new this.#ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
  }
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
