import type { Activation } from '../runtime/ops.js';
import type { HiddenAct } from './config.js';

/** The kernel of each activation that a config may name (transformers' ACT2FN). */
export const ACTIVATION_KERNELS: Readonly<Record<HiddenAct, Activation>> = {
  gelu: 'gelu_erf',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  quick_gelu: 'gelu_quick',
  relu: 'relu',
  selu: 'selu',
  silu: 'silu',
  swish: 'silu',
};
