import type { ConfigFields } from './config-fields.js';

/** How the rotary frequencies are stretched for longer contexts (`rope_scaling`); the default has none. */
export type RopeScaling =
  | { readonly rope_type: 'linear'; readonly factor: number }
  | {
      readonly rope_type: 'llama3';
      readonly factor: number;
      readonly low_freq_factor: number;
      readonly high_freq_factor: number;
      readonly original_max_position_embeddings: number;
    };

/**
 * `rope_scaling`, or `rope_parameters` where later versions of the reference write it. The older name of the type,
 * `type`, wins over `rope_type`, as in LlamaConfig. Other fields are ignored, as there.
 * @throws ConfigError for a type that is not implemented and for a field that is missing or wrong.
 */
export function parseRopeScaling(fields: ConfigFields): RopeScaling | null {
  const given = fields.object('rope_scaling');
  if (given) return parseScaling(given, given.value('type') === undefined ? 'rope_type' : 'type');
  const parameters = fields.object('rope_parameters');
  return parameters?.value('rope_type') === undefined ? null : parseScaling(parameters, 'rope_type');
}

function parseScaling(rope: ConfigFields, typeField: string): RopeScaling | null {
  const type = rope.value(typeField);
  if (type === 'default') return null;
  if (type !== 'linear' && type !== 'llama3') {
    throw rope.error(typeField, 'default, linear or llama3', 'rope type is not implemented');
  }
  const factor = rope.positive('factor', Number.NaN);
  if (type === 'linear') return { rope_type: type, factor };
  const low = rope.positive('low_freq_factor', Number.NaN);
  const high = rope.positive('high_freq_factor', Number.NaN);
  if (high <= low) throw rope.error('high_freq_factor', `a number above low_freq_factor, ${low}`);
  return {
    rope_type: type,
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: rope.integer('original_max_position_embeddings', Number.NaN),
  };
}

/**
 * In place: inverse frequencies stretched as `_compute_linear_scaling_rope_parameters` and `_compute_llama3_parameters`
 * do. Every step is one float32 operation in torch's order, in which number / tensor is the tensor's reciprocal times
 * the number, so the bits are the reference's wherever those of the frequencies are.
 */
export function scaleFrequencies(inverse: Float32Array, scaling: RopeScaling): void {
  const round = Math.fround;
  const factor = round(scaling.factor);
  if (scaling.rope_type === 'linear') {
    for (let i = 0; i < inverse.length; i++) inverse[i] /= factor;
    return;
  }
  const { low_freq_factor: low, high_freq_factor: high } = scaling;
  const context = scaling.original_max_position_embeddings;
  const longest = round(context / low);
  const shortest = round(context / high);
  for (let i = 0; i < inverse.length; i++) {
    const x = inverse[i];
    const wavelength = round(round(1 / x) * round(2 * Math.PI));
    if (wavelength > longest) inverse[i] = x / factor;
    else if (wavelength >= shortest) {
      const turns = round(round(1 / wavelength) * round(context));
      const smooth = round(round(turns - round(low)) / round(high - low));
      const stretched = round(round(round(1 - smooth) * x) / factor);
      inverse[i] = stretched + round(smooth * x);
    }
  }
}
