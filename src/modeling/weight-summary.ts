import { PARTS, type Part, partOf } from '../model/weight-dtypes.js';
import { isQuantized, type PanelDtype, type Weight } from '../runtime/weight.js';
import { type DTypeName, nameOfDtype } from './dtype-names.js';

/** The dtype of a model's weights: of a quantised one what most values have, else the first one's. */
export function dtypeOf(weights: readonly Weight[]): DTypeName {
  if (weights.length === 0) return 'float32';
  const quantized = weights.some(({ dtype }) => isQuantized(dtype));
  return nameOfDtype(quantized ? mostOf(weights) : weights[0].dtype);
}

/** What most values of each part's weights have, for the parts that there are. */
export function dtypesOfParts(weights: readonly Weight[]): Partial<Record<Part, DTypeName>> {
  const parts = PARTS.map((part) => [part, weights.filter(({ name }) => partOf(name) === part)] as const);
  const there = parts.filter(([, own]) => own.length > 0);
  return Object.fromEntries(there.map(([part, own]) => [part, nameOfDtype(mostOf(own))]));
}

/** The dtype that most values of these weights have. */
function mostOf(weights: readonly Weight[]): PanelDtype {
  const counts = new Map<PanelDtype, number>();
  for (const { dtype, N, K } of weights) counts.set(dtype, (counts.get(dtype) ?? 0) + N * K);
  return [...counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most))[0];
}
