import { BeamRow, type Candidate, type Hypothesis } from './beam-row.js';
import { type GenerateOutput, padRows } from './output.js';
import type { Random } from './random.js';
import { emptyError, type GenerationRun, nanError, processScores, reportStep, ScoreRecord } from './run.js';

/** A continuation of a beam: which, by which id, with what summed log-probability. */
interface Continuation {
  beam: number;
  id: number;
  score: number;
}

/**
 * Beam search and beam sampling (the reference's vectorised `_beam_search`). The prompt is computed once a row, and its
 * beams share the full pages of its keys and values.
 */
export async function beamSearch(run: GenerationRun): Promise<GenerateOutput> {
  const { prompt, decoder, options } = run;
  const { num_beams: beams } = options;
  const rows = startRows(run);
  const random = rows.map((_, row) => run.random(row, 0));
  const record = new ScoreRecord(options);
  const first = await decoder.prompt(prompt);
  const source = rows.flatMap((_, row) => new Array<number>(beams).fill(row));
  await decoder.select(source);
  let logits: (Float32Array | undefined)[] = source.map((row) => first[row].slice());
  for (let columns = prompt.ids[0].length + 1; ; columns++) {
    const sources = await step(run, rows, random, logits, record);
    reportStep(run, columns);
    if (!sources) break;
    await decoder.select(sources);
    const last = rows.flatMap((row) => row.running.map(({ ids }) => ids[ids.length - 1]));
    const active = rows.flatMap((row) => new Array<boolean>(beams).fill(record.wantsAll || !row.closed));
    logits = await decoder.next(last, active);
  }
  return { ...finish(run, rows), ...record.output };
}

function startRows({ prompt, options, maxColumns, math }: GenerationRun): BeamRow[] {
  const { num_beams, early_stopping, length_penalty } = options;
  return prompt.ids.map((ids) => {
    const maxLength = maxColumns - ids.length;
    const pow = math.pow.bind(math);
    return new BeamRow(ids, { num_beams, early_stopping, length_penalty, maxLength, pow });
  });
}

/** Continues every beam by one id. Returns which beam each came from; nothing when the search is over. */
async function step(
  run: GenerationRun,
  rows: readonly BeamRow[],
  random: readonly Random[],
  logits: readonly (Float32Array | undefined)[],
  record: ScoreRecord,
): Promise<number[] | undefined> {
  const { num_beams: beams, early_stopping } = run.options;
  record.addLogits(logits);
  for (const [i, scores] of logits.entries()) {
    await run.decoder.inTurn(() => {
      if (scores) logProbabilities(run, rows[Math.floor(i / beams)].running[i % beams], scores, i);
    });
  }
  record.addScores(logits);
  const sources = Array.from(logits.keys());
  let canContinue = false;
  for (const [row, state] of rows.entries()) {
    const scores = logits.slice(row * beams, (row + 1) * beams);
    // Rows whose result stands are computed only where their scores are asked for.
    if (!scores[0]) continue;
    const candidates = await run.decoder.inTurn(() => {
      const some = candidatesOf(run, row, state, scores as Float32Array[], random[row]);
      state.advance(some);
      return some;
    });
    canContinue ||= !candidates.every(({ stops }) => stops);
    for (const [i, { indices }] of state.running.entries())
      sources[row * beams + i] = indices[indices.length - 1];
  }
  const allFull = early_stopping === true && rows.every((row) => row.full);
  const goesOn = canContinue && !allFull;
  return goesOn && (await run.decoder.inTurn(() => rows.some((row) => row.improvable))) ? sources : undefined;
}

function logProbabilities(run: GenerationRun, beam: Hypothesis, scores: Float32Array, index: number): void {
  const row = Math.floor(index / run.options.num_beams);
  run.math.logSoftmax(scores);
  processScores(run, beam.ids, scores, row);
}

/** The continuations that are looked at: enough for num_beams to stay open when every beam's best are eos. */
function candidatesOf(
  run: GenerationRun,
  row: number,
  { running }: BeamRow,
  scores: readonly Float32Array[],
  random: Random,
): Candidate[] {
  const { num_beams: beams, eos_token_id: eos, do_sample } = run.options;
  const count = Math.max(2, 1 + eos.length) * beams;
  for (const [beam, values] of scores.entries()) {
    for (let id = 0; id < values.length; id++) values[id] += running[beam].score;
  }
  const chosen = do_sample ? draw(run, row, scores, count, random) : largest(scores, count);
  if (chosen.length < count) throw do_sample ? emptyError(row) : nanError(row);
  return chosen.map(({ beam, id, score }) => {
    const ids = [...running[beam].ids, id];
    return {
      ids,
      indices: [...running[beam].indices, row * beams + beam],
      score,
      stops: run.stops(ids, row),
    };
  });
}

/** The `count` best over all beams, best first; of equal ones the first beam's, then the lowest id. */
function largest(scores: readonly Float32Array[], count: number): Continuation[] {
  const top: Continuation[] = [];
  for (const [beam, values] of scores.entries()) {
    for (let id = 0; id < values.length; id++) {
      const score = values[id];
      if (top.length === count && !(score > top[count - 1].score)) continue;
      if (Number.isNaN(score)) continue;
      let at = top.length;
      while (at > 0 && score > top[at - 1].score) at--;
      top.splice(at, 0, { beam, id, score });
      if (top.length > count) top.pop();
    }
  }
  return top;
}

/** `count` different continuations drawn one after the other from the softmax over all beams, in the order drawn. */
function draw(
  { math }: GenerationRun,
  row: number,
  scores: readonly Float32Array[],
  count: number,
  random: Random,
): Continuation[] {
  const width = scores[0].length;
  const all = new Float32Array(scores.length * width);
  for (const [beam, values] of scores.entries()) all.set(values, beam * width);
  return Array.from({ length: count }, () => {
    const index = math.sample(all, random.float64());
    if (index < 0) throw emptyError(row);
    const score = all[index];
    all[index] = Number.NEGATIVE_INFINITY;
    return { beam: Math.floor(index / width), id: index % width, score };
  });
}

function finish({ options }: GenerationRun, rows: readonly BeamRow[]): GenerateOutput {
  const { num_return_sequences: count, pad_token_id: pad, eos_token_id: eos } = options;
  const best = rows.flatMap((row) => row.best(count));
  // The reference takes a pad of 0 for none.
  const fill = eos.length > 0 ? pad || eos[0] : -1;
  const sequences = padRows(
    best.map(({ ids }) => [...ids]),
    fill,
  );
  const beam_indices = padRows(
    best.map(({ indices }) => [...indices]),
    -1,
  );
  const withScores = options.return_dict_in_generate && options.output_scores;
  const data = Float32Array.from(best, ({ score }) => score);
  return { sequences, beam_indices, ...(withScores && { sequences_scores: { dims: [best.length], data } }) };
}
