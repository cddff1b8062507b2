import type { Files } from './files.js';
import type { Group, Work } from './works.js';

export type EngineName =
  | 'smolvlm-wasm'
  | 'onnxruntime-web'
  | 'onnxruntime-node'
  | 'transformers.js'
  | 'transformers.js-web'
  | 'node-llama-cpp'
  | 'wllama'
  | 'torch';

/** What is set for an engine; each takes what it knows. */
export interface EngineSettings {
  /** The weights' format under the engine's own name for it: float32, int8, Q8_0, … */
  readonly dtype: string;
  readonly threads: number;
  readonly relaxed?: boolean;
  /** A Python that has torch. */
  readonly python?: string;
}

/** An engine with what it needs for a group of works loaded. */
export interface Session {
  /** The engine's version and whatever else should stand beside its figures. */
  readonly version: string;
  /**
   * One run of a work, with inputs that differ from those of the run before: caches of whole inputs have no hit.
   * @returns seconds of its timed parts, one or more
   */
  measure(work: Work, run: number): Promise<number[]>;
  /** Peak resident bytes, where they are not those of this process. */
  peakBytes?(): number | null;
  /** What it computed last, where engines can be compared: the same for all whose weights are the same. */
  output?(): ArrayLike<number> | undefined;
  close(): Promise<void>;
}

export interface Engine<Paths = unknown> {
  /** The files that it loads, made if they are missing. @throws Unsupported for what it cannot do */
  files(group: Group, settings: EngineSettings, files: Files): Promise<Paths>;
  open(group: Group, settings: EngineSettings, paths: Paths): Promise<Session>;
}

/** Not a failure: the engine cannot do this, or not here. */
export class Unsupported extends Error {
  override name = 'Unsupported';
}

/** Seconds that a call takes. */
export async function timed(call: () => unknown): Promise<number> {
  const started = performance.now();
  await call();
  return (performance.now() - started) / 1000;
}

/**
 * From the times at which tokens came, the first of them at the end of the prompt: seconds of the whole prompt, or of
 * each following stretch of `work.tokens`.
 */
export function stretches(work: Work, started: number, times: readonly number[]): number[] {
  if (work.tokens === undefined) return [(times[0] - started) / 1000];
  const out: number[] = [];
  for (let i = work.tokens; i < times.length; i += work.tokens) {
    out.push((times[i] - times[i - work.tokens]) / 1000);
  }
  return out;
}

/** Tokens that a run must make for `stretches` to find three of them (one token for a prefill). */
export const tokensToMake = (work: Work) => (work.tokens === undefined ? 1 : 1 + 3 * work.tokens);
