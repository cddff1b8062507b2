/** Assertions of errors: the type, where it says the fault is, what it expected and what it got. */
import * as assert from 'uvu/assert';
import type { SmolVLMError } from '../../src/errors.js';

type ErrorClass = new (...args: never[]) => SmolVLMError;

export function throws(
  act: () => unknown,
  type: ErrorClass,
  where: string,
  expected: string,
  got: string,
): void {
  let thrown: unknown;
  try {
    act();
  } catch (error) {
    thrown = error;
  }
  check(thrown, type, where, expected, got);
}

export async function rejects(
  promise: Promise<unknown>,
  type: ErrorClass,
  where: string,
  expected: string,
  got: string,
): Promise<void> {
  const thrown = await promise.then(
    () => undefined,
    (error) => error,
  );
  check(thrown, type, where, expected, got);
}

function check(thrown: unknown, type: ErrorClass, where: string, expected: string, got: string): void {
  assert.ok(thrown instanceof type, `${type.name} expected, ${String(thrown)} thrown`);
  const error = thrown as SmolVLMError;
  assert.ok(error.where.includes(where), `where: ${error.where}`);
  assert.ok(error.expected?.includes(expected), `expected: ${error.expected}`);
  assert.ok(error.got?.includes(got), `got: ${error.got}`);
}
