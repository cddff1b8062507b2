/** How far the first pass over a prompt is. */
export interface PassProgress {
  /** `encoding`: pictures to states, counted in tiles. `prefill`: the prompt through the text model, counted in tokens. */
  status: 'encoding' | 'prefill';
  /** Of `total`; fractions go by the layers that are done. */
  done: number;
  /** What this pass computes. */
  total: number;
  /** What did not have to be computed, because an earlier pass had. */
  cached: number;
}

/** Is told at the start of a stage and after each of its layers. */
export type OnPassProgress = (progress: PassProgress) => void;
