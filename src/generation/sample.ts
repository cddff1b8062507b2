import { type GenerateOutput, padRows } from './output.js';
import type { Random } from './random.js';
import { emptyError, type GenerationRun, nanError, processScores, reportStep, ScoreRecord } from './run.js';

interface Row {
  ids: number[];
  /** The prompt's row. */
  prompt: number;
  random: Random;
  running: boolean;
}

/**
 * Greedy decoding and sampling (the reference's `_sample`): the best token, the lowest id of equals, or one drawn from the
 * processed scores. Each row draws from its own stream, so rows do not depend on each other.
 */
export async function sample(run: GenerationRun): Promise<GenerateOutput> {
  const { prompt, decoder, options, streamer } = run;
  const rows = startRows(run);
  const record = new ScoreRecord(options);
  streamer?.put(Int32Array.from(rows.flatMap(({ ids }) => ids)));
  const first = await decoder.prompt(prompt);
  await decoder.select(rows.map((row) => row.prompt));
  let logits: (Float32Array | undefined)[] = rows.map((row) => first[row.prompt].slice());
  for (;;) {
    const made = await step(run, rows, logits, record);
    streamer?.put(made);
    reportStep(run, rows[0].ids.length);
    if (!rows.some((row) => row.running)) break;
    // Without an eos the reference puts no pads: rows that have ended go on until the last one has.
    const all = record.wantsAll || options.eos_token_id.length === 0;
    const ids = rows.map((row) => row.ids[row.ids.length - 1]);
    logits = await decoder.next(
      ids,
      rows.map((row) => all || row.running),
    );
  }
  streamer?.end();
  const sequences = padRows(
    rows.map(({ ids }) => ids),
    options.pad_token_id ?? 0,
  );
  return { sequences, ...record.output };
}

function startRows({ prompt, options, random }: GenerationRun): Row[] {
  const count = options.num_return_sequences;
  return Array.from({ length: prompt.batch * count }, (_, i) => {
    const row = Math.floor(i / count);
    return { ids: prompt.ids[row].slice(), prompt: row, random: random(row, i % count), running: true };
  });
}

/** Appends one id to every row: its token, or a pad where it has ended. */
async function step(
  run: GenerationRun,
  rows: readonly Row[],
  logits: readonly (Float32Array | undefined)[],
  record: ScoreRecord,
): Promise<Int32Array> {
  record.addLogits(logits);
  const fills = run.options.eos_token_id.length > 0;
  const ids = new Int32Array(rows.length);
  for (const [i, row] of rows.entries()) {
    ids[i] = await run.decoder.inTurn(() => {
      const scores = logits[i];
      if (scores) processScores(run, row.ids, scores, row.prompt);
      return !row.running && fills ? run.options.pad_token_id! : choose(run, row, scores!);
    });
  }
  record.addScores(logits);
  for (const [i, row] of rows.entries()) {
    row.ids.push(ids[i]);
    row.running &&= !run.stops(row.ids, row.prompt);
  }
  return ids;
}

function choose({ math, options }: GenerationRun, row: Row, scores: Float32Array): number {
  const id = options.do_sample ? math.sample(scores, row.random.float64()) : math.argmax(scores);
  if (id >= 0) return id;
  throw options.do_sample ? emptyError(row.prompt) : nanError(row.prompt);
}
