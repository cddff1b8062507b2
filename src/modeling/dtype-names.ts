import { InputError } from '../errors.js';
import type { PositionDtype } from '../model/config.js';
import { PARTS, type Part, type PartDtypes, uniformDtypes } from '../model/weight-dtypes.js';
import type { PanelDtype } from '../runtime/weight.js';

/** The dtypes that weights may have, by their names in PyTorch; `int4` is this library's own. */
export type DTypeName = PositionDtype | 'int8' | 'int4';

/** A dtype as it is asked for: with or without the "torch." that Python prints before it. */
export type DTypeOption = DTypeName | `torch.${DTypeName}`;

/** A dtype for each part of the model; a part that is left out is `auto`: as it is stored. */
export type PartDTypes = { readonly [P in Part]?: 'auto' | DTypeOption | null };

const PANEL_DTYPES: Readonly<Record<DTypeName, PanelDtype>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  int4: 'I4',
};
const NAMES = Object.keys(PANEL_DTYPES) as DTypeName[];
export const FLOAT_NAMES = ['float32', 'float16', 'bfloat16'] as const;

export function isFloatName(name: DTypeName | undefined): name is PositionDtype {
  return FLOAT_NAMES.includes(name as PositionDtype);
}

export function panelDtype(name: DTypeName): PanelDtype {
  return PANEL_DTYPES[name];
}

export function nameOfDtype(dtype: PanelDtype): DTypeName {
  return NAMES.find((name) => PANEL_DTYPES[name] === dtype)!;
}

/** The dtype's plain name; undefined for auto. @throws InputError */
export function dtypeName(dtype: unknown, where = 'dtype'): DTypeName | undefined {
  if (dtype === undefined || dtype === null || dtype === 'auto') return undefined;
  const name = String(dtype).replace(/^torch\./, '');
  if (typeof dtype === 'string' && NAMES.includes(name as DTypeName)) return name as DTypeName;
  const expected = `one of auto, ${NAMES.join(', ')}`;
  throw new InputError({ what: 'wrong value', where, expected, got: JSON.stringify(dtype) ?? String(dtype) });
}

/** What the option `dtype` asks for: the name of one for all parts, if it is one, and each part's. @throws InputError */
export function readDtype(dtype: unknown): { name: DTypeName | undefined; dtypes: PartDtypes | 'auto' } {
  if (typeof dtype === 'object' && dtype !== null) return { name: undefined, dtypes: readParts(dtype) };
  const name = dtypeName(dtype);
  return { name, dtypes: name ? uniformDtypes(PANEL_DTYPES[name]) : 'auto' };
}

function readParts(given: object): PartDtypes {
  const out: Partial<Record<Part, PanelDtype>> = {};
  for (const [part, dtype] of Object.entries(given)) {
    if (!PARTS.includes(part as Part)) {
      const expected = `a name, or an object of ${PARTS.join(', ')}`;
      throw new InputError({ what: 'no such part', where: 'dtype', expected, got: part });
    }
    const name = dtypeName(dtype, `dtype.${part}`);
    if (name) out[part as Part] = PANEL_DTYPES[name];
  }
  return out;
}
