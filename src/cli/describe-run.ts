/** The run of `describe`: one picture after the other, whatever becomes of each. */
import { stat } from 'node:fs/promises';
import type { AnswerResult, Timings } from '../chat/answer.js';
import type { AnswerProgress } from '../chat/ask.js';
import type { MediaPiece } from '../chat/content.js';
import { InputError, SmolVLMError } from '../errors.js';
import type { SmolVLM } from '../smolvlm.js';
import { progressText, stageOf } from './answer-progress.js';
import type { DescribeOptions } from './describe.js';
import { FileOutput, FORMATS, type Output, RecordOutput, TextOutput } from './describe-output.js';
import { expandInputs, isUrl, type MediaInput } from './inputs.js';
import { loadModel } from './model-options.js';
import { Pace } from './pace.js';
import type { ResultRecord } from './results/record.js';
import { ResultsFile } from './results/results-file.js';
import { count, duration, ProgressLine, seconds } from './terminal.js';
import { printable } from './text-width.js';

interface Task extends MediaInput {
  /** The record without its answer. */
  asked: ResultRecord;
}

const say = (text: string) => process.stderr.write(`smolvlm describe: ${text}\n`);

/** @returns the exit status: 1 where anything could not be described */
export async function describeAll(options: DescribeOptions, signal: AbortSignal): Promise<number> {
  const { paths, videos, recursive, output, quiet } = options;
  const inputs = await expandInputs(paths, { recursive, videos });
  for (const { path, reason } of inputs.problems) say(`${printable(path)}: ${reason}`);
  if (inputs.leftOut > 0 && !quiet) say(`left out ${count(inputs.leftOut, 'file')} of other kinds`);
  const tasks = inputs.media.map((input) => ({ ...input, asked: recordOf(input, options) }));
  if (tasks.length === 0) return 1;
  const file =
    output &&
    (await ResultsFile.open(
      output.path,
      tasks.map(({ asked }) => asked),
      { format: FORMATS[output.format], force: output.force },
    ));
  try {
    const left = file ? tasks.filter(({ asked }) => !file.has(asked)) : tasks;
    const run = new DescribeRun(options, left, file, signal);
    const known = tasks.length - left.length;
    try {
      if (left.length > 0) await run.all();
    } finally {
      if (file && !quiet) say(summary(output!.path, run, known, signal.aborted));
    }
    return run.failed + inputs.problems.length > 0 ? 1 : 0;
  } finally {
    await file?.close();
  }
}

function recordOf({ path, type }: MediaInput, { prompt, model, generation }: DescribeOptions): ResultRecord {
  const question = prompt ?? (type === 'video' ? 'Describe this video.' : 'Describe this image.');
  return { path, model: model.name, prompt: question, system: generation.system };
}

function summary(
  path: string,
  { described, failed }: DescribeRun,
  known: number,
  isInterrupted: boolean,
): string {
  const parts = [`${count(described, 'picture')} described`];
  if (known > 0) parts.push(`${known} there already`);
  if (failed > 0) parts.push(`${failed} failed`);
  if (isInterrupted) parts.push('interrupted; the same command goes on');
  return `${path}: ${parts.join(', ')}`;
}

class DescribeRun {
  readonly #options: DescribeOptions;
  readonly #tasks: readonly Task[];
  readonly #file: ResultsFile | undefined;
  readonly #signal: AbortSignal;
  readonly #progress: ProgressLine;
  readonly #pace: Pace;
  #outputs: Output[] = [];

  constructor(
    options: DescribeOptions,
    tasks: readonly Task[],
    file: ResultsFile | undefined,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#tasks = tasks;
    this.#file = file;
    this.#signal = signal;
    this.#progress = new ProgressLine(process.stderr, !options.quiet);
    this.#pace = new Pace(tasks.length);
  }

  described = 0;
  failed = 0;

  async all(): Promise<void> {
    const vlm = await loadModel(this.#options.model, this.#progress, this.#signal);
    this.#outputs = this.#open(vlm);
    try {
      for (const [index, task] of this.#tasks.entries()) {
        // A reader that has seen enough (`| head`) needs no more pictures described.
        if (!this.#file && process.stdout.errored) break;
        this.#pace.begin();
        const record = await this.#one(vlm, task, index);
        this.#pace.finish(record.error === undefined);
        this.#progress.clear();
        for (const output of this.#outputs) await output.record(record);
        if (record.error === undefined) this.described++;
        else this.failed++;
        if (record.error !== undefined) say(`${printable(task.path)}: ${printable(record.error)}`);
      }
    } finally {
      this.#progress.clear();
      vlm.dispose();
    }
  }

  #open(vlm: SmolVLM): Output[] {
    const { standardOutput: format, time } = this.#options;
    const outputs: Output[] = this.#file ? [new FileOutput(this.#file)] : [];
    if (format) outputs.push(new RecordOutput(process.stdout, FORMATS[format]));
    if (outputs.length > 0) return outputs;
    const relaxed = vlm.model.relaxed === true;
    return [new TextOutput(process.stdout, { titles: this.#tasks.length > 1, time, relaxed })];
  }

  /** The record of a picture; one that cannot be described has the error. @throws AbortError, and what was not foreseen */
  async #one(vlm: SmolVLM, task: Task, index: number): Promise<ResultRecord> {
    try {
      const { text, finish_reason, usage, timings } = await this.#answer(vlm, task, index);
      const { path, ...asked } = task.asked;
      return { path, text, finish_reason, usage, timings: rounded(timings), ...asked };
    } catch (error) {
      if (!(error instanceof SmolVLMError)) throw error;
      return { ...task.asked, error: `${error.name}: ${error.message}` };
    }
  }

  async #answer(vlm: SmolVLM, { path, type, asked }: Task, index: number): Promise<AnswerResult> {
    if (!isUrl(path)) await checkReadable(path, type);
    const { system, options } = this.#options.generation;
    const source = isUrl(path) ? { url: path } : { path };
    const session = vlm.chat({ ...options, system });
    const answer = session.send([{ type, ...source } as MediaPiece, asked.prompt], {
      signal: this.#signal,
      progress_callback: (event) => this.#show(event, path, index),
    });
    for await (const piece of answer) {
      for (const output of this.#outputs) {
        // The text's line is the one that shows progress, where both are on one terminal.
        if (output.piece && process.stdout.isTTY) this.#progress.clear();
        output.piece?.(path, piece);
      }
    }
    return answer;
  }

  #show(event: AnswerProgress, path: string, index: number): void {
    this.#pace.progress(event);
    const isText = this.#outputs.some((output) => output.piece);
    if (isText && process.stdout.isTTY && event.status === 'decoding') return;
    const { perPicture, left } = this.#pace;
    const isOne = this.#tasks.length === 1;
    const parts = {
      counter: isOne ? '' : `${index + 1} of ${this.#tasks.length}`,
      name: printable(path),
      stage: stageOf(event),
      rate: isOne || perPicture === undefined ? undefined : `${seconds(perPicture)} a picture`,
      left: left === undefined ? undefined : `${duration(left)} left`,
    };
    this.#progress.show(progressText(parts, this.#progress.columns));
  }
}

/** To the microsecond: further digits are noise, and many. */
function rounded(timings: Timings): Timings {
  const entries = Object.entries(timings).map(([name, value]) => [name, Math.round(value * 1000) / 1000]);
  return Object.fromEntries(entries) as Timings;
}

/** @throws InputError in fewer words than the attempt to read it would take; a video may be a folder of frames */
async function checkReadable(path: string, type: MediaInput['type']): Promise<void> {
  const refuse = (got: string, cause?: unknown) =>
    new InputError({
      what: `the ${type === 'video' ? 'video' : 'picture'} cannot be read`,
      where: path,
      expected: 'a file',
      got,
      cause,
    });
  try {
    const stats = await stat(path);
    if (!stats.isFile() && !(type === 'video' && stats.isDirectory())) throw refuse('a folder or device');
  } catch (error) {
    throw error instanceof InputError
      ? error
      : refuse((error as NodeJS.ErrnoException).code ?? String(error), error);
  }
}
