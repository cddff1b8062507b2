/** A checkpoint's files that a processor is made of. */
import type { CheckpointFolder } from '../checkpoint/folder.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { type ChatTemplates, findChatTemplate } from './chat-template.js';
import type { ImageProcessorConfig } from './image-config.js';
import { SmolVLMImageProcessor } from './image-processor.js';
import { type FastImageProcessorConfig, SmolVLMImageProcessorFast } from './image-processor-fast.js';
import { checkSlowImageOptions, IMAGE_PROCESSOR_OPTIONS, type ImageOptions } from './processor-options.js';
import { SmolVLMTokenizer } from './tokenizer.js';
import type { VideoProcessorConfig } from './video/options.js';
import { SmolVLMVideoProcessor } from './video/video-processor.js';

/** The texts of a checkpoint folder's files; those that are absent are left out. */
export interface ProcessorFiles {
  'tokenizer.json': string;
  'tokenizer_config.json'?: string;
  'preprocessor_config.json'?: string;
  'video_preprocessor_config.json'?: string;
  'processor_config.json'?: string;
  'chat_template.json'?: string;
  'chat_template.jinja'?: string;
}

const NAMES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
  'video_preprocessor_config.json',
  'processor_config.json',
  'chat_template.json',
  'chat_template.jinja',
] as const;

/** What `from_pretrained` may set differently from the files; options of the image processor too. */
export interface ProcessorOptions
  extends Omit<ImageProcessorConfig, 'image_processor_type'>,
    Pick<ImageOptions, 'do_center_crop' | 'crop_size' | 'default_to_square' | 'device' | 'disable_grouping'> {
  /** `<image>` tokens per tile, ((image_size / patch_size)²) / scale_factor²; wins over processor_config.json. */
  image_seq_len?: number;
  chat_template?: string;
  padding_side?: 'left' | 'right';
  truncation_side?: 'left' | 'right';
  /**
   * `true` takes SmolVLMImageProcessorFast. Otherwise it is SmolVLMImageProcessor whatever preprocessor_config.json names,
   * as in the reference, whose SmolVLMProcessor knows no other.
   */
  use_fast?: boolean;
}

export interface ProcessorParts {
  image_processor: SmolVLMImageProcessor | SmolVLMImageProcessorFast;
  tokenizer: SmolVLMTokenizer;
  video_processor: SmolVLMVideoProcessor;
  image_seq_len: number | undefined;
  chat_template: ChatTemplates | undefined;
}

/** The files' texts from an open folder, and what config.json says where there is no processor_config.json. */
export async function readProcessorFiles(
  folder: CheckpointFolder,
): Promise<{ files: ProcessorFiles; image_seq_len: number | undefined }> {
  const files: Partial<ProcessorFiles> = {};
  for (const name of NAMES) if (await folder.has(name)) files[name] = await folder.text(name);
  const fromConfig = files['processor_config.json'] === undefined && (await folder.has('config.json'));
  const image_seq_len = fromConfig ? tileTokens(await folder.json('config.json')) : undefined;
  return { files: files as ProcessorFiles, image_seq_len };
}

/** `<image>` tokens per tile of a model, with SmolVLMConfig's defaults; undefined unless that is a whole number. */
function tileTokens(config: unknown): number | undefined {
  const { scale_factor = 2, vision_config } = config as { scale_factor?: number; vision_config?: object };
  const { image_size = 224, patch_size = 32 } = (vision_config ?? {}) as Record<string, number>;
  const count = Math.trunc(Math.floor(image_size / patch_size) ** 2 / scale_factor ** 2);
  return Number.isInteger(count) && count > 0 ? count : undefined;
}

/** Throws CheckpointError, naming the file, where one is missing or no JSON; ConfigError for what they say. */
export function processorParts(
  files: ProcessorFiles,
  { image_seq_len, chat_template, padding_side, truncation_side, use_fast, ...image }: ProcessorOptions,
): ProcessorParts {
  const json = parse(files, 'tokenizer.json');
  if (json === undefined) {
    throw new CheckpointError({
      what: 'file missing',
      where: 'tokenizer.json',
      expected: 'its text',
      got: 'nothing',
    });
  }
  const given = { padding_side, truncation_side };
  for (const [name, side] of Object.entries(given)) {
    if (side !== undefined && side !== 'left' && side !== 'right') {
      throw new ConfigError({
        what: 'invalid option',
        where: name,
        expected: 'left or right',
        got: String(side),
      });
    }
  }
  const unknown = Object.keys(image).find((name) => !IMAGE_PROCESSOR_OPTIONS.has(name));
  if (unknown !== undefined) {
    throw new ConfigError({
      what: `unsupported option ${unknown}`,
      where: unknown,
      expected:
        'image_seq_len, chat_template, a side of the tokenizer, use_fast, or an image processor option',
      got: String((image as Record<string, unknown>)[unknown]),
    });
  }
  if (!use_fast) checkSlowImageOptions(image);
  const tokenizerConfig = parse(files, 'tokenizer_config.json') ?? {};
  const tokenizer = new SmolVLMTokenizer(json, { ...tokenizerConfig, ...defined(given) });
  const preprocessor = parse(files, 'preprocessor_config.json');
  const processor = parse(files, 'processor_config.json');
  const video = parse(files, 'video_preprocessor_config.json') ?? preprocessor ?? processor ?? {};
  const config = { ...preprocessor, ...defined(image) } as Record<string, unknown>;
  const sources = {
    chat_template_jinja: files['chat_template.jinja'],
    chat_template_json: parse(files, 'chat_template.json'),
    tokenizer_config: tokenizerConfig,
  };
  return {
    image_processor: use_fast
      ? new SmolVLMImageProcessorFast(config as FastImageProcessorConfig)
      : new SmolVLMImageProcessor(slowConfig(config)),
    tokenizer,
    video_processor: new SmolVLMVideoProcessor(
      ((video as { video_processor?: object }).video_processor ?? video) as VideoProcessorConfig,
    ),
    image_seq_len: image_seq_len ?? (processor as { image_seq_len?: number } | undefined)?.image_seq_len,
    chat_template: chat_template ?? findChatTemplate(sources),
  };
}

function slowConfig(config: Record<string, unknown>): ImageProcessorConfig {
  const type = config.image_processor_type;
  if (typeof type !== 'string') return config;
  return { ...config, image_processor_type: type.replace(/Fast$/, '') };
}

function defined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function parse(files: ProcessorFiles, name: keyof ProcessorFiles): object | undefined {
  const text = files[name];
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
    throw new Error(`a ${typeof value}`);
  } catch (cause) {
    throw new CheckpointError({
      what: 'no JSON object',
      where: name,
      expected: 'an object',
      got: (cause as Error).message,
      cause,
    });
  }
}
