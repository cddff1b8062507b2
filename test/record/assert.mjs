/** uvu/assert, counting its calls: a test that made none proves nothing. */
import * as real from 'uvu/assert';

export const counter = { calls: 0 };

/** Assertions hold one another (`not.ok` is `not`), so each is wrapped once. */
const wrapped = new Map();

function counted(assertion) {
  if (wrapped.has(assertion)) return wrapped.get(assertion);
  const call = (...args) => {
    counter.calls++;
    return assertion(...args);
  };
  wrapped.set(assertion, call);
  for (const [name, nested] of Object.entries(assertion)) call[name] = counted(nested);
  return call;
}

export const { Assertion } = real;
export const is = counted(real.is);
export const ok = counted(real.ok);
export const equal = counted(real.equal);
export const type = counted(real.type);
export const instance = counted(real.instance);
export const match = counted(real.match);
export const snapshot = counted(real.snapshot);
export const fixture = counted(real.fixture);
export const throws = counted(real.throws);
export const unreachable = counted(real.unreachable);
export const not = counted(real.not);
