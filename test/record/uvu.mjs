/** uvu, writing a line of JSON for each test that passed: its file, its title, and how many assertions it made. */
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { exec, suite as realSuite, test as realTest } from 'uvu';
import { counter } from './assert.mjs';

const log = process.env.TEST_RECORD;
const file = relative('build/test', process.argv[1]).replaceAll('\\', '/').replace(/\.js$/, '');

function recorded(title, handler) {
  return async (context) => {
    counter.calls = 0;
    await handler(context);
    appendFileSync(log, `${JSON.stringify({ file, title, assertions: counter.calls })}\n`);
  };
}

function wrap(real) {
  const test = (title, handler) => real(title, recorded(title, handler));
  test.only = (title, handler) => real.only(title, recorded(title, handler));
  test.skip = real.skip;
  test.before = real.before;
  test.after = real.after;
  test.run = real.run;
  return test;
}

export { exec };
export const test = wrap(realTest);
export const suite = (...args) => wrap(realSuite(...args));
