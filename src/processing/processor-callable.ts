/** Objects that can be called, as the reference's `__call__` makes them: `await processor(images, text)`. */

/**
 * The constructor gives back a function that passes its arguments on to `_call` and that has the class's prototype, so
 * that methods, fields, private fields and `instanceof` work as on any object.
 */
export abstract class Callable {
  constructor() {
    const callable = (...args: unknown[]): unknown => (callable as unknown as Callable)._call(...args);
    // biome-ignore lint/correctness/noConstructorReturn: the function is the instance.
    return Object.setPrototypeOf(callable, new.target.prototype);
  }

  /** What a call of the object does. */
  abstract _call(...args: unknown[]): unknown;
}
