/**
 * Warpers: the logits processors of sampling, named after the reference's classes. Probabilities and their sums are
 * float64 where the reference has float32, so a token whose sum meets the threshold to within float32 rounding may fall on
 * the other side. The reference leaves it to its sort which of several equal scores are kept where a threshold parts them;
 * here those with the higher ids are.
 */
import type { Processor } from './processors.js';
import type { ScoreMath } from './score-math.js';

const NONE = Number.NEGATIVE_INFINITY;

/** TemperatureLogitsWarper. */
export function temperature(value: number): Processor {
  const divisor = Math.fround(value);
  return (_, scores) => {
    for (let i = 0; i < scores.length; i++) scores[i] /= divisor;
  };
}

/** TopKLogitsWarper: scores equal to the k-th are all kept. */
export function topK(k: number, minTokensToKeep: number): Processor {
  return (_, scores) => {
    const threshold = kthLargest(scores, Math.min(Math.max(k, minTokensToKeep), scores.length));
    for (let i = 0; i < scores.length; i++) if (scores[i] < threshold) scores[i] = NONE;
  };
}

/** TopPLogitsWarper. */
export function topP(p: number, minTokensToKeep: number, math: ScoreMath): Processor {
  return (_, scores) => {
    const probabilities = math.softmax(scores);
    // All that have at most an n-th of what may go, go: most of a vocabulary need not be sorted.
    const small = smallOnes(scores, probabilities, (1 - p) / scores.length, minTokensToKeep);
    const order = ascending(scores);
    let sum = small;
    for (let i = 0; i < order.length - minTokensToKeep; i++) {
      sum += probabilities[order[i]];
      if (sum > 1 - p) break;
      scores[order[i]] = NONE;
    }
  };
}

/** Filters the probabilities up to a bound, unless fewer than `keep` would be left; returns their sum. */
function smallOnes(scores: Float32Array, probabilities: Float64Array, bound: number, keep: number): number {
  let left = 0;
  for (const probability of probabilities) if (probability > bound) left++;
  if (left < keep) return 0;
  let sum = 0;
  for (let id = 0; id < scores.length; id++) {
    if (probabilities[id] > bound) continue;
    sum += probabilities[id];
    scores[id] = NONE;
  }
  return sum;
}

/** MinPLogitsWarper. */
export function minP(p: number, minTokensToKeep: number, math: ScoreMath): Processor {
  return (_, scores) => {
    const probabilities = math.softmax(scores);
    const threshold = p * probabilities.reduce((top, value) => Math.max(top, value), 0);
    // The best never fall: sorting is for keeping more than one.
    const kept = minTokensToKeep > 1 ? ascending(scores).slice(-minTokensToKeep) : [];
    const saved = Array.from(kept, (id): [number, number] => [id, scores[id]]);
    for (let id = 0; id < scores.length; id++) if (probabilities[id] < threshold) scores[id] = NONE;
    for (const [id, score] of saved) scores[id] = score;
  };
}

/** TypicalLogitsWarper. */
export function typicalP(mass: number, minTokensToKeep: number, math: ScoreMath): Processor {
  return (_, scores) => {
    const probabilities = math.softmax(scores);
    const total = math.logSumExp(scores);
    const entropy = entropyOf(scores, probabilities, total);
    const surprise = (id: number) => Math.abs(total - scores[id] - entropy);
    const order = Array.from(ascending(scores)).sort((a, b) => surprise(a) - surprise(b) || a - b);
    let last = 0;
    for (let sum = probabilities[order[0]]; sum < mass && last < order.length - 1; ) {
      sum += probabilities[order[++last]];
    }
    const threshold = surprise(order[last]);
    for (const id of order.slice(minTokensToKeep)) if (surprise(id) > threshold) scores[id] = NONE;
  };
}

/** EpsilonLogitsWarper. */
export function epsilonCutoff(epsilon: number, minTokensToKeep: number, math: ScoreMath): Processor {
  return (_, scores) => cutBelow(scores, math.softmax(scores), epsilon, minTokensToKeep);
}

/** EtaLogitsWarper. */
export function etaCutoff(epsilon: number, minTokensToKeep: number, math: ScoreMath): Processor {
  return (_, scores) => {
    const probabilities = math.softmax(scores);
    const entropy = entropyOf(scores, probabilities, math.logSumExp(scores));
    const eta = Math.min(epsilon, Math.sqrt(epsilon) * math.exp(-entropy));
    cutBelow(scores, probabilities, eta, minTokensToKeep);
  };
}

function cutBelow(scores: Float32Array, probabilities: Float64Array, bound: number, keep: number): void {
  const threshold = kthLargest(scores, Math.min(keep, scores.length));
  for (let i = 0; i < scores.length; i++) {
    if (probabilities[i] < bound && scores[i] < threshold) scores[i] = NONE;
  }
}

function entropyOf(scores: Float32Array, probabilities: Float64Array, logTotal: number): number {
  let entropy = 0;
  for (let i = 0; i < scores.length; i++) {
    if (probabilities[i] > 0) entropy += probabilities[i] * (logTotal - scores[i]);
  }
  return entropy;
}

/** The ids of all scores above −Infinity, by score and, of equal ones, by id. */
export function ascending(scores: Float32Array): Uint32Array {
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const keys = new Float64Array(scores.length);
  let count = 0;
  for (let id = 0; id < scores.length; id++) {
    if (scores[id] === NONE) continue;
    // The bits of a float32 in an order that integers have; + 0 because the two zeros are equal.
    float[0] = scores[id] + 0;
    const ordered = bits[0] >= 2 ** 31 ? ~bits[0] >>> 0 : bits[0] + 2 ** 31;
    keys[count++] = ordered * ID_RANGE + id;
  }
  // One number holds both, exactly: native sorting of numbers is many times as fast as a comparison function.
  const sorted = keys.subarray(0, count).sort();
  return Uint32Array.from(sorted, (key) => key % ID_RANGE);
}

/** 32 + 21 bits fit a float64: vocabularies of up to two million. */
const ID_RANGE = 2 ** 21;

/** The k-th largest value, by a heap of the k largest so far with the least of them on top. */
export function kthLargest(scores: Float32Array, k: number): number {
  const heap = scores.slice(0, k);
  for (let i = (k >> 1) - 1; i >= 0; i--) sink(heap, i);
  for (let i = k; i < scores.length; i++) {
    if (!(scores[i] > heap[0])) continue;
    heap[0] = scores[i];
    sink(heap, 0);
  }
  return heap[0];
}

function sink(heap: Float32Array, at: number): void {
  const value = heap[at];
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
}
