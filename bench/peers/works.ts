/** What is measured. A work's amount over its seconds is its rate; works of a group share a process and what it loads. */

export type Group = 'matmul' | 'tile' | 'text' | 'picture';

export interface Work {
  readonly id: string;
  readonly group: Group;
  readonly title: string;
  /** What one run amounts to; null: its seconds are the figure. */
  readonly amount: number | null;
  readonly unit: string;
  /** Tokens of the prompt before the part that is timed. */
  readonly context?: number;
  /** Tokens that a timed run of decoding makes. */
  readonly tokens?: number;
}

export const MATMUL = { M: 1020, K: 768, N: 3072 };

const prefill = (tokens: number): Work => ({
  id: `prefill-${tokens}`,
  group: 'text',
  title: `SmolLM2-135M, prefill of ${tokens} tokens`,
  amount: tokens,
  unit: 'tokens/s',
  context: tokens,
});

const decode = (context: number, tokens: number): Work => ({
  id: `decode-${context}`,
  group: 'text',
  title: `SmolLM2-135M, decode at context ${context}`,
  amount: tokens,
  unit: 'tokens/s',
  context,
  tokens,
});

export const WORKS: readonly Work[] = [
  {
    id: 'matmul',
    group: 'matmul',
    title: 'MatMul 1020 × 768 × 3072',
    amount: 2e-9 * MATMUL.M * MATMUL.K * MATMUL.N,
    unit: 'GFLOP/s',
  },
  { id: 'tile', group: 'tile', title: 'SigLIP-B/16, one 512 × 512 tile', amount: null, unit: 's' },
  prefill(64),
  prefill(512),
  prefill(1141),
  decode(128, 32),
  decode(2048, 32),
  {
    id: 'picture',
    group: 'picture',
    title: '256M, one picture of one tile and 16 tokens of text, to the first token',
    amount: null,
    unit: 's',
  },
];
