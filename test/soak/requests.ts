/**
 * A process of its own (node --expose-gc requests.js THREADS): many requests in a row on the embedded checkpoint, one in three
 * cancelled somewhere. Prints one line of JSON: what was answered, and what is left. It must then end by itself.
 */
import { getEventListeners } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../../src/generation/random.js';
import { SmolVLM, SmolVLMForConditionalGeneration } from '../../src/index.js';
import type { Model } from '../../src/model/model.js';
import { root, shapes } from '../support/paths.js';
import { SOAK_GROWTH } from '../tolerance.js';

export interface SoakReport {
  /** Rows of 300 requests: a second one where memory grew in the first, which then was its warm-up. */
  rows: number;
  requests: number;
  cancelled: number;
  /** Of each stage, how many requests were cancelled there. */
  stages: Record<string, number>;
  /** Requests that were not cancelled, and those whose answer was another than a fresh run's. */
  answered: number;
  wrong: string[];
  /** Rejections with anything but the signal's reason. */
  strange: string[];
  loads: { done: number; cancelled: number };
  /** Bytes after the warm-up and at each quarter of what follows. */
  rss: number[];
  /** Bytes of JavaScript objects and buffers, at the same moments. */
  objects: number[];
  /** Resident bytes before and after models were loaded and disposed of, and how many. */
  reloads: number[];
  /** Bytes of the model's memory without its caches, at the same moments. */
  held: number[];
  /** The most that the caches held beside their limits. */
  caches: { prefix: number; prefixLimit: number; image: number; imageLimit: number };
  /** The most listeners on the signal that all requests share, and those left. */
  listeners: { most: number; left: number };
  /** Kinds of resources, threads and files beyond those of the beginning, after dispose(). */
  left: { resources: string[]; threads: number; files: number };
  seconds: number;
}

interface Sample {
  file: string;
  question: string;
  ids: number[];
}

const REQUESTS = 300;
const WARM_UP = 120;
const CHECKS = 3;
/** Models that are loaded and disposed of, before the first look and until the second. */
const SOME = 8;
const RELOADS = 25;
const STAGES = ['load', 'processing', 'encoding', 'prefill', 'decoding'] as const;
type Stage = (typeof STAGES)[number];

const threads = Number(process.argv[2]);
const random = new Random(2026, threads);
const below = (n: number) => random.uint32() % n;
const folder = join(root, 'test/fixtures/demo');
const { max_new_tokens, samples } = JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8')) as {
  max_new_tokens: number;
  samples: Sample[];
};

const started = performance.now();
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const count = (path: string) => readdirSync(path).length;
const isLinux = process.platform === 'linux';
const threadCount = () => (isLinux ? count('/proc/self/task') : 0);
const fileCount = () => (isLinux ? count('/proc/self/fd') : 0);

async function collect(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await rest(15);
  }
}

/** The median of several readings. */
async function residentBytes(): Promise<number> {
  const readings: number[] = [];
  for (let i = 0; i < 5; i++) {
    await collect();
    readings.push(process.memoryUsage.rss());
  }
  return readings.sort((a, b) => a - b)[2];
}

// Opened lazily, by the first worker for one.
void [process.stdout, process.stderr];
await collect();
const first = { resources: process.getActiveResourcesInfo(), threads: threadCount(), files: fileCount() };

/** Small caches, full after the warm-up. */
const limits = { prefix_cache_bytes: 4 << 20, image_cache_bytes: 1 << 18 };
const vlm = await SmolVLM.from_pretrained(shapes, { threads, ...limits });
vlm.feature_cache.limit = 1 << 20;
const { model: inner } = vlm.model as unknown as { model: Model };
const { engine } = inner.ops;

const report: SoakReport = {
  rows: 0,
  requests: 0,
  cancelled: 0,
  stages: Object.fromEntries(STAGES.map((stage) => [stage, 0])),
  answered: 0,
  wrong: [],
  strange: [],
  loads: { done: 0, cancelled: 0 },
  rss: [],
  objects: [],
  reloads: [],
  held: [],
  caches: {
    prefix: 0,
    prefixLimit: limits.prefix_cache_bytes,
    image: 0,
    imageLimit: limits.image_cache_bytes,
  },
  listeners: { most: 0, left: 0 },
  left: { resources: [], threads: 0, files: 0 },
  seconds: 0,
};

/** One signal for the life of the process, as a server's own. */
const shared = new AbortController();
const listeners = () => getEventListeners(shared.signal, 'abort').length;

/** Where and how a request is cancelled. */
interface Plan {
  stage: Stage | undefined;
  controller: AbortController;
  reason: Error;
}

/** Aborts a few turns of the event loop from now. */
function abortSoon({ controller, reason }: Plan, turns: number): void {
  if (turns === 0) controller.abort(reason);
  else setImmediate(() => abortSoon({ controller, reason, stage: undefined }, turns - 1));
}

/** Aborts at a look at the signal while the picture is processed. */
function trapProcessing(plan: Plan): void {
  const { get } = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!;
  let left = 1 + below(16);
  Object.defineProperty(plan.controller.signal, 'aborted', {
    configurable: true,
    get() {
      if (--left === 0) plan.controller.abort(plan.reason);
      return get!.call(plan.controller.signal);
    },
  });
}

/** Hooks that abort the request in its stage. */
function hooks(plan: Plan) {
  let events = 1 + below(3);
  const { signal } = plan.controller;
  const load_image = async (source: { url: string } | { path: string }) => {
    if (plan.stage === 'load') abortSoon(plan, below(4));
    for (let i = below(4); i > 0; i--) await turn();
    return new Uint8Array(readFileSync((source as { path: string }).path));
  };
  const progress_callback = ({ status }: { status: string }) => {
    report.listeners.most = Math.max(report.listeners.most, listeners());
    if (status === plan.stage && --events === 0) abortSoon(plan, below(3));
  };
  if (plan.stage === 'processing') trapProcessing(plan);
  return { load_image, progress_callback, signal: plan.stage ? signal : shared.signal };
}

const KINDS = ['generate', 'describe', 'stream', 'chat'] as const;

/** The answer's text, of the one or the other interface. */
async function request(
  kind: (typeof KINDS)[number],
  { file, question }: Sample,
  plan: Plan,
): Promise<string> {
  const path = join(folder, file);
  const { load_image, progress_callback, signal } = hooks(plan);
  const options = { max_new_tokens, progress_callback, signal, processor_options: { load_image } };
  if (kind === 'generate') {
    const content = [
      { type: 'image' as const, path },
      { type: 'text' as const, text: question },
    ];
    const chat = { add_generation_prompt: true, tokenize: true as const, load_image, signal };
    const inputs = await vlm.processor.apply_chat_template([{ role: 'user', content }], chat);
    const output = await vlm.model.generate({ ...inputs, max_new_tokens, progress_callback, signal });
    const ids = output.data.subarray(inputs.input_ids.dims[1]);
    return vlm.processor.decode(ids, { skip_special_tokens: true }).trimStart();
  }
  if (kind === 'describe') return (await vlm.describe(path, question, options)).text;
  if (kind === 'stream') {
    const answer = vlm.describe(path, question, options);
    // A request that is cancelled while decoding is abandoned by whoever reads it.
    const isLeft = plan.stage === 'decoding';
    for await (const _ of answer) if (isLeft) break;
    if (!isLeft) return answer.text;
    return (await answer).text;
  }
  const session = vlm.chat({ max_new_tokens, processor_options: { load_image } });
  const { text } = await session.send([{ type: 'image', path }, question], { progress_callback, signal });
  await session.send('And what else?', { max_new_tokens: 3, signal });
  return text;
}

/** One answer, wanted or cancelled. */
async function serve(index: number): Promise<void> {
  const sample = samples[below(samples.length)];
  const kind = KINDS[below(KINDS.length)];
  // Some are answered before they are cancelled: the next ones make up for them.
  const isOwed = report.cancelled < (index + 1) / 3;
  const stage = isOwed ? STAGES[below(STAGES.length)] : undefined;
  const plan = { stage, controller: new AbortController(), reason: new Error(`cancelled ${index}`) };
  report.requests++;
  try {
    const text = await request(kind, sample, plan);
    report.answered++;
    const expected = vlm.processor.decode(sample.ids, { skip_special_tokens: true }).trimStart();
    if (text !== expected) report.wrong.push(`${index}, ${kind}: ${text} instead of ${expected}`);
  } catch (error) {
    // Whoever leaves a loop gets the platform's own AbortError.
    const isLeft = kind === 'stream' && (error as Error).name === 'AbortError';
    if (stage && (error === plan.reason || isLeft)) {
      report.cancelled++;
      report.stages[stage]++;
    } else report.strange.push(`${index}, ${kind}, ${stage}: ${(error as Error).stack}`);
  }
  if (getEventListeners(plan.controller.signal, 'abort').length > 0)
    report.strange.push(`${index}: listeners`);
  const { prefixes, tiles } = inner;
  report.caches.prefix = Math.max(report.caches.prefix, prefixes.bytes);
  report.caches.image = Math.max(report.caches.image, tiles.bytes);
}

/** Another model, cancelled while it is loaded more often than not. */
async function load(): Promise<void> {
  const plan = { stage: 'load' as const, controller: new AbortController(), reason: new Error('load') };
  const timer = setTimeout(() => abortSoon(plan, 0), below(80));
  try {
    const { signal } = plan.controller;
    (await SmolVLM.from_pretrained(shapes, { threads, signal, dtype: below(2) ? 'int8' : 'auto' })).dispose();
    report.loads.done++;
  } catch (error) {
    if (error === plan.reason) report.loads.cancelled++;
    else report.strange.push(`load: ${(error as Error).stack}`);
  }
  clearTimeout(timer);
}

/** What keeps the process alive beyond what did at the beginning. */
function leftResources(): string[] {
  const resources = process.getActiveResourcesInfo();
  for (const name of first.resources) {
    const at = resources.indexOf(name);
    if (at >= 0) resources.splice(at, 1);
  }
  return resources;
}

/** What the model holds beside its caches; they are filled again by what follows. */
function heldBytes(): number {
  inner.prefixes.clear();
  inner.tiles.clear();
  engine.activations.trim();
  return engine.heap.used;
}

/** 300 requests, with looks at the memory after the warm-up. */
async function row(): Promise<void> {
  report.rows++;
  for (const list of [report.rss, report.objects, report.held]) list.length = 0;
  for (let index = 0; index < REQUESTS; index++) {
    await serve(report.requests);
    if (index % 25 === 0) await load();
    if (index + 1 >= WARM_UP && (index + 1 - WARM_UP) % ((REQUESTS - WARM_UP) / CHECKS) === 0) {
      report.rss.push(await residentBytes());
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      report.objects.push(heapUsed + arrayBuffers);
      report.held.push(heldBytes());
    }
  }
}

await row();
const grew = (values: number[]) => values.some((value) => Math.abs(value / values[0] - 1) > SOAK_GROWTH);
// Seen: one step of up to 4.5 % soon after the warm-up, then nothing; once 7 %, on a busy machine. A leak goes on.
if (grew(report.rss) || grew(report.objects)) await row();
report.listeners.left = listeners();
vlm.dispose();

/** Models come and go. */
for (let i = 0; i < RELOADS + SOME; i++) {
  if (i === SOME) report.reloads.push(await residentBytes());
  const model = await SmolVLMForConditionalGeneration.from_pretrained(shapes, { threads });
  if (i % 5 === 0)
    await model.generate({ input_ids: { dims: [1, 2], data: Int32Array.of(5, 6) }, max_new_tokens: 2 });
  model.dispose();
}
report.reloads.push(await residentBytes());
for (let i = 0; i < 40 && (threadCount() > first.threads || leftResources().length > 0); i++) await collect();
report.left = {
  resources: leftResources(),
  threads: Math.max(0, threadCount() - first.threads),
  files: Math.max(0, fileCount() - first.files),
};
report.seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify(report));
