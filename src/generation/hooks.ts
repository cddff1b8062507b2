import { InputError } from '../errors.js';
import type { Processor } from './processors.js';

/**
 * A user's own logits processor. Gets a row's ids so far (the prompt's with them) and its scores, and changes the scores in
 * place or returns new ones. `row` is the prompt's row in the batch. The scores are overwritten by the next token's.
 */
export type LogitsProcessor =
  | ((input_ids: readonly number[], scores: Float32Array, row: number) => Float32Array | undefined)
  | {
      process(input_ids: readonly number[], scores: Float32Array, row: number): Float32Array | undefined;
    };

/** A user's own stopping criterion: whether the row ends with its last id. */
export type StoppingCriterion =
  | ((input_ids: readonly number[], row: number) => boolean)
  | { stop(input_ids: readonly number[], row: number): boolean };

/** @throws InputError for what is no processor; when it runs, for scores of another length */
export function userProcessor(processor: LogitsProcessor, index: number): Processor {
  const where = `logits_processor[${index}]`;
  const call = functionOf(processor, 'process', where);
  return (ids, scores, row) => {
    const result = call(ids, scores, row);
    if (result === undefined || result === scores) return;
    if (!(result instanceof Float32Array) || result.length !== scores.length) {
      const expected = `a Float32Array of ${scores.length} scores, or nothing`;
      const got = result instanceof Float32Array ? `${result.length} scores` : typeof result;
      throw new InputError({ what: 'wrong result of a logits processor', where, expected, got });
    }
    scores.set(result);
  };
}

/** @throws InputError for what is no criterion */
export function userCriterion(criterion: StoppingCriterion, index: number) {
  const call = functionOf(criterion, 'stop', `stopping_criteria[${index}]`);
  return (ids: readonly number[], row: number): boolean => Boolean(call(ids, row));
}

function functionOf<A extends unknown[], R>(hook: unknown, method: string, where: string): (...args: A) => R {
  if (typeof hook === 'function') return hook as (...args: A) => R;
  const member = (hook as Record<string, unknown> | null | undefined)?.[method];
  if (typeof member === 'function') return (...args) => member.apply(hook, args);
  const expected = `a function, or an object with the method ${method}`;
  throw new InputError({
    what: 'not a function',
    where,
    expected,
    got: hook === null ? 'null' : typeof hook,
  });
}
