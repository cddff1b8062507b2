import { ConfigError } from '../errors.js';
import type { Activation } from '../runtime/ops.js';

/** The reference's activation names (transformers' ACT2FN) and the kernels that compute them. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu_erf',
  gelu_pytorch_tanh: 'gelu_tanh',
  // The same formula written out: the two differ from gelu_pytorch_tanh by rounding only.
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  quick_gelu: 'gelu_quick',
  relu: 'relu',
  selu: 'selu',
  silu: 'silu',
  swish: 'silu',
};

/** @throws ConfigError for a name that no kernel computes. */
export function activationKernel(hidden_act: string, where: string): Activation {
  const kernel = Object.hasOwn(ACTIVATIONS, hidden_act) ? ACTIVATIONS[hidden_act] : undefined;
  if (kernel) return kernel;
  const expected = `one of ${Object.keys(ACTIVATIONS).join(', ')}`;
  throw new ConfigError({ what: 'activation not implemented', where, expected, got: hidden_act });
}
