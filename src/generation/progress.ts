import type { PassProgress } from '../model/progress.js';

/**
 * How far `generate` is: tiles encoded, tokens of the prompt computed (`done` of `total`; `cached` ones were known), then
 * new tokens of each row, `total` at most.
 */
export type GenerationProgress = Omit<PassProgress, 'status'> & {
  status: PassProgress['status'] | 'decoding';
};
