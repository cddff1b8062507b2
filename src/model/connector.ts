import { InputError } from '../errors.js';
import type { Ops } from '../runtime/ops.js';
import type { Steps } from '../runtime/steps.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Weight } from '../runtime/weight.js';
import type { StageTap } from './taps.js';

const PATH = 'model.connector';

/**
 * Pixel shuffle and projection (SmolVLMConnector): scale² neighbouring patches become one text-width state.
 * @param x [count · patches, vision hidden_size]
 * @returns [count · patches / scale², text hidden_size]
 * @throws InputError when the patches of an image are no square that scale divides
 */
export function* connector(
  ops: Ops,
  projection: Weight,
  scale: number,
  x: Tensor,
  count: number,
  tap?: StageTap,
): Steps<Tensor> {
  const { engine } = ops;
  const patches = x.rows / count;
  const side = Math.floor(Math.sqrt(patches));
  if (side * side !== patches || side % scale !== 0) {
    throw new InputError({
      what: 'the patches of an image cannot be shuffled',
      where: 'pixel_values',
      expected: `a square grid whose side is a multiple of scale_factor ${scale}`,
      got: `${patches} patches`,
    });
  }
  const states = patches / (scale * scale);
  const shuffled = engine.tensor(count * states, x.columns * scale * scale);
  for (let image = 0; image < count; image++) {
    const source = x.slice(image * patches, patches);
    const target = shuffled.slice(image * states, states);
    ops.pixelShuffle(target, source, side, scale);
  }
  const out = yield* ops.linear(shuffled, { weight: projection });
  if (tap) yield* tap(`${PATH}.modality_projection.proj`, out);
  if (tap) yield* tap(`${PATH}.modality_projection`, out);
  if (tap) yield* tap(PATH, out);
  return out;
}
