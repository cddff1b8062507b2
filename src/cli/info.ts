import { adapterChanges, openAdapter } from '../checkpoint/adapter.js';
import { type CheckpointFolder, openCheckpoint } from '../checkpoint/folder.js';
import { weightMemoryBytes } from '../checkpoint/load.js';
import {
  checkTensors,
  type ExpectedTensor,
  expectedTensors,
  type TensorExpectation,
} from '../checkpoint/manifest.js';
import { joinScales, storedAs } from '../checkpoint/quantized.js';
import type { CheckpointTensor } from '../checkpoint/shards.js';
import { parseConfig, type SmolVLMConfig } from '../model/config.js';
import { memoryOf } from '../model/fitting-dtypes.js';
import { refuseAdapter } from '../model/load.js';
import { activationBytes, cacheBytesPerToken } from '../model/memory.js';
import { uniformDtypes } from '../model/weight-dtypes.js';
import type { PanelDtype } from '../runtime/weight.js';
import { readArguments, UsageError } from './arguments.js';
import { downloadProgress } from './download-progress.js';
import { type HelpPage, printHelp } from './help.js';
import { HUB_HELP, HUB_OPTIONS, readHubOptions } from './hub-options.js';
import { megabytes, ProgressLine } from './terminal.js';

const HELP: HelpPage = {
  usage: ['smolvlm info MODEL [--adapter DIR] [--json]'],
  about: ['Says what a checkpoint holds and the memory it will need; reads no weights.'],
  sections: [
    {
      title: 'Options',
      rows: [
        [
          'MODEL',
          'a folder with config.json and model.safetensors (or shards with their index), or ORG/NAME on the hub',
        ],
        ['--adapter DIR', 'check a PEFT LoRA adapter for it, and say what it changes'],
        ['--json', 'print JSON instead of a table'],
      ],
    },
    HUB_HELP,
  ],
  examples: ['smolvlm info ./SmolVLM-256M-Instruct'],
};

/** `smolvlm info DIR`: reads the config and the weights' headers, no weights. */
export async function infoCommand(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args, {
    help: { type: 'boolean', short: 'h' },
    adapter: { type: 'string' },
    json: { type: 'boolean' },
    ...HUB_OPTIONS,
  });
  if (values.help) return printHelp(HELP);
  if (positionals.length !== 1) throw new UsageError(`expected one folder, got ${positionals.length}`);
  const line = new ProgressLine();
  const hub = { ...readHubOptions(values), progress_callback: downloadProgress(line) };
  const folder = await openCheckpoint(positionals[0], hub);
  try {
    const info = await checkpointInfo(folder, values.adapter);
    process.stdout.write(values.json ? `${JSON.stringify(info, null, 2)}\n` : table(info));
    return 0;
  } finally {
    await folder.close();
  }
}

interface Part {
  name: string;
  tensors: number;
  parameters: number;
  dtypes: string[];
  bytes: number;
  memory: number;
}

interface CheckpointInfo {
  folder: string;
  config: SmolVLMConfig;
  tokensPerTile: number;
  files: { name: string; bytes: number }[];
  parts: Part[];
  total: Part;
  memory: {
    weights: number;
    activations: number;
    cachePerToken: number;
    /** The weights' bytes with each dtype that from_pretrained takes; a quantised checkpoint has only its own. */
    weightsByDtype: Record<string, number>;
  };
  quantization: SmolVLMConfig['quantization'];
  /** Tensors that the adapter adds a product to, and those that it replaces. */
  adapter?: { folder: string; merged: number; replaced: number };
}

type Tensors = ReadonlyMap<string, CheckpointTensor>;

const DTYPES: Readonly<Record<string, PanelDtype>> = { bfloat16: 'BF16', int8: 'I8', int4: 'I4' };

async function checkpointInfo(folder: CheckpointFolder, adapter?: string): Promise<CheckpointInfo> {
  await refuseAdapter(folder);
  const config = parseConfig(await folder.json('config.json'));
  const shards = await folder.weights();
  const expected = expectedTensors(config);
  const { quantization } = config;
  const held = quantization ? joinScales(expected.tensors, shards.tensors, folder.name) : shards.tensors;
  checkTensors(expected, held, folder.name);
  const part = (name: string, prefix: string) => {
    const tensors = expected.tensors.filter((tensor) => tensor.name.startsWith(prefix));
    return describePart(name, tensors, held);
  };
  const total = describePart('total', expected.tensors, held);
  const byDtype = (quantization ? [] : Object.entries(DTYPES)).map(([name, dtype]) => {
    return [name, memoryOf(expected.tensors, held, uniformDtypes(dtype))];
  });
  return {
    folder: folder.name,
    config,
    tokensPerTile: await tokensPerTile(folder, config),
    files: shards.files.map(({ name, bytes }) => ({ name, bytes })),
    parts: [
      part('vision', 'model.vision_model.'),
      part('connector', 'model.connector.'),
      part('text embedding', 'model.text_model.embed_tokens.'),
      part('text layers', 'model.text_model.layers.'),
      part('text norm', 'model.text_model.norm.'),
      part('lm_head', 'lm_head.'),
    ],
    total,
    memory: {
      weights: total.memory,
      activations: activationBytes(config),
      cachePerToken: cacheBytesPerToken(config),
      weightsByDtype: Object.fromEntries(byDtype),
    },
    quantization,
    adapter: adapter === undefined ? undefined : await adapterInfo(adapter, expected),
  };
}

async function adapterInfo(location: string, expected: TensorExpectation) {
  const adapter = await openAdapter(await openCheckpoint(location));
  try {
    const changes = [...adapterChanges(adapter, expected).values()];
    const count = (kind: 'lora' | 'replacement') => changes.filter((change) => change[kind]).length;
    return { folder: location, merged: count('lora'), replaced: count('replacement') };
  } finally {
    await adapter.close();
  }
}

/** The processor's file says it where there is one: its tiles may be smaller than the config's image_size. */
async function tokensPerTile(folder: CheckpointFolder, config: SmolVLMConfig): Promise<number> {
  const file = 'processor_config.json';
  const json = (await folder.has(file)) ? ((await folder.json(file)) as { image_seq_len?: unknown }) : {};
  return typeof json.image_seq_len === 'number' ? json.image_seq_len : config.image_seq_len;
}

function describePart(name: string, expected: readonly ExpectedTensor[], tensors: Tensors): Part {
  const held = expected.map((tensor) => tensors.get(tensor.name)!);
  const stored = held.flatMap((tensor) =>
    [tensor, tensor.scale, tensor.minimum].filter((one) => one !== undefined),
  );
  return {
    name,
    tensors: held.length,
    parameters: expected.reduce((sum, { N, K }) => sum + N * K, 0),
    dtypes: [...new Set(held.map(storedAs))],
    bytes: stored.reduce((sum, { begin, end }) => sum + end - begin, 0),
    memory: weightMemoryBytes(expected, tensors),
  };
}

function table({
  folder,
  config,
  tokensPerTile,
  files,
  parts,
  total,
  memory,
  quantization,
  adapter,
}: CheckpointInfo): string {
  const { vision_config: vision, text_config: text } = config;
  const tied = text.tie_word_embeddings ? ', lm_head tied' : '';
  const quantized = quantization ? `, quantised by ${quantization.quant_method}` : '';
  const lines = [
    `${folder} (${config.model_type}${quantized})`,
    `  vision  ${vision.num_hidden_layers} layers × ${vision.hidden_size}, ${vision.num_attention_heads} heads, ` +
      `${vision.image_size} px in patches of ${vision.patch_size}, ${vision.hidden_act}`,
    `  text    ${text.num_hidden_layers} layers × ${text.hidden_size}, ${text.num_attention_heads} heads over ` +
      `${text.num_key_value_heads}, vocabulary ${text.vocab_size}, context ${text.max_position_embeddings}${tied}`,
    `  a tile takes ${tokensPerTile} tokens (scale_factor ${config.scale_factor})`,
    `  files   ${files.map(({ name, bytes }) => `${name} ${megabytes(bytes)}`).join(', ')}`,
    '',
    row(['part', 'tensors', 'parameters', 'dtype', 'on disk', 'in memory']),
  ];
  for (const part of [...parts.filter(({ tensors }) => tensors > 0), total]) {
    lines.push(
      row([
        part.name,
        String(part.tensors),
        part.parameters.toLocaleString('en-US'),
        part.dtypes.join(' '),
        megabytes(part.bytes),
        megabytes(part.memory),
      ]),
    );
  }
  const context = text.max_position_embeddings;
  const others = Object.entries(memory.weightsByDtype).map(
    ([name, bytes]) => `${megabytes(bytes)} as ${name}`,
  );
  lines.push(
    '',
    'memory it will need',
    `  weights      ${[megabytes(memory.weights), ...others].join(', ')}`,
    `  activations  about ${megabytes(memory.activations)} for a tile`,
    `  KV cache     ${megabytes(memory.cachePerToken * 1000)} for 1000 tokens, ` +
      `${megabytes(memory.cachePerToken * context)} for the whole context of ${context}`,
    '',
  );
  if (adapter) {
    const { merged, replaced } = adapter;
    lines.splice(-1, 0, `adapter ${adapter.folder}: ${merged} tensors merged, ${replaced} replaced`);
  }
  return lines.join('\n');
}

function row([name, ...cells]: string[]): string {
  return `  ${name.padEnd(15)}${cells.map((cell) => cell.padStart(13)).join('')}`;
}
