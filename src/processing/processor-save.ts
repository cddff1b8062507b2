/** A processor's files (`ProcessorMixin.save_pretrained`), which `from_pretrained` and the reference read. */
import { nodeFileSystem } from '../checkpoint/node.js';
import { checkSignal, InputError } from '../errors.js';
import type { ChatTemplates } from './chat-template.js';
import type { SmolVLMTokenizer } from './tokenizer.js';

/** A folder's path (where there is a file system), or a Map that gets the files by name. */
export type ProcessorTarget = string | Map<string, Uint8Array<ArrayBuffer>>;

interface Saved {
  image_processor: object;
  video_processor: object;
  tokenizer: SmolVLMTokenizer;
  image_seq_len: number;
  chat_template: ChatTemplates | undefined;
}

/** The files' texts by name. The reference writes the vocabulary a second time (vocab.json, merges.txt); here it is once. */
export function processorFiles(saved: Saved): Record<string, string> {
  const { tokenizer, image_seq_len, chat_template } = saved;
  const processor_class = 'SmolVLMProcessor';
  const fast = saved.image_processor.constructor.name.endsWith('Fast');
  const { chat_template: _, ...tokenizerConfig } = tokenizer.config;
  const sides = {
    ...(tokenizer.padding_side && { padding_side: tokenizer.padding_side }),
    ...(tokenizer.truncation_side === 'left' && { truncation_side: 'left' }),
  };
  const files: Record<string, string> = {
    'preprocessor_config.json': sorted({
      ...fields(saved.image_processor),
      image_processor_type: `SmolVLMImageProcessor${fast ? 'Fast' : ''}`,
      processor_class,
    }),
    'video_preprocessor_config.json': sorted({
      ...fields(saved.video_processor),
      video_processor_type: 'SmolVLMVideoProcessor',
      processor_class,
    }),
    'processor_config.json': sorted({ image_seq_len, processor_class }),
    'tokenizer.json': JSON.stringify(tokenizer.json, null, 2),
    'tokenizer_config.json': sorted({ ...tokenizerConfig, ...sides, processor_class }),
    'special_tokens_map.json': sorted(specialTokens(tokenizer)),
  };
  if (typeof chat_template === 'string') files['chat_template.jinja'] = chat_template;
  else if (chat_template !== undefined) {
    files['chat_template.json'] = `${JSON.stringify({ chat_template }, null, 2)}\n`;
  }
  return files;
}

/** @throws InputError where nothing can be written; the signal's reason: files that were written before stay */
export async function writeFiles(
  target: ProcessorTarget,
  files: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  checkSignal(signal);
  const encoder = new TextEncoder();
  if (target instanceof Map) {
    for (const [name, text] of Object.entries(files)) target.set(name, encoder.encode(text));
    return;
  }
  if (typeof target !== 'string' || target === '') throw refused(String(target));
  const { mkdir, writeFile } = await nodeFileSystem();
  const base = target.replace(/(.)[/\\]+$/, '$1');
  await mkdir(base, { recursive: true }).catch((cause) => {
    throw refused(target, cause);
  });
  for (const [name, text] of Object.entries(files)) {
    checkSignal(signal);
    await writeFile(`${base}/${name}`, text);
  }
}

/** Own values of an object that JSON knows; `do_upscale`, which the reference does not know, only where it is off. */
function fields(processor: object): Record<string, unknown> {
  const kept = Object.entries(processor).filter(
    ([name, value]) =>
      value !== undefined && typeof value !== 'function' && !(name === 'do_upscale' && value === true),
  );
  return Object.fromEntries(kept);
}

/** As Python's json.dumps(sort_keys=True, indent=2) lays it out. */
function sorted(value: Record<string, unknown>): string {
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`;
}

/** The named tokens, with how they match where the vocabulary says it. */
function specialTokens(tokenizer: SmolVLMTokenizer): Record<string, unknown> {
  const added = ((tokenizer.json as { added_tokens?: unknown[] }).added_tokens ?? []) as {
    content: string;
    lstrip?: boolean;
    normalized?: boolean;
    rstrip?: boolean;
    single_word?: boolean;
  }[];
  const full = (content: string) => {
    const token = added.find((entry) => entry.content === content);
    if (!token) return content;
    const { lstrip = false, normalized = false, rstrip = false, single_word = false } = token;
    return { content, lstrip, normalized, rstrip, single_word };
  };
  return Object.fromEntries(
    Object.entries(tokenizer.special_tokens_map).map(([name, value]) => [
      name,
      // As the reference: lists as plain strings.
      Array.isArray(value) ? value : full(value),
    ]),
  );
}

function refused(got: string, cause?: unknown): InputError {
  const expected = 'the path of a folder, or a Map';
  return new InputError({ what: 'cannot save there', where: 'save_pretrained', expected, got, cause });
}
