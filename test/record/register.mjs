/** Loaded before a test file by test/run.mjs: imports of uvu go through the recording wrappers beside this file. */
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
