/** A model of the 256M size's real widths that is cut to a few layers and a small vocabulary, with counter weights. */
import { sizeConfig, sizeJson } from '../../bench/sizes.js';
import type { SmolVLMConfig } from '../../src/model/config.js';
import type { Model } from '../../src/model/model.js';
import { type PretrainedOptions, SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import { counterFile } from './counter.js';

const CUT = { layers: 2, vocab_size: 1000 };

export interface CutModel {
  /** The public model … */
  readonly model: SmolVLMForConditionalGeneration;
  /** … and what is inside. */
  readonly inner: Model;
  readonly config: SmolVLMConfig;
}

/** One thread; nothing that was computed once is used again, unless the options say so. */
export async function cutModel(options: PretrainedOptions = {}, layers = CUT.layers): Promise<CutModel> {
  const cut = { ...CUT, layers };
  const json = sizeJson('256m', cut);
  const file = counterFile(json, { dtype: 'BF16' });
  const weights = new Uint8Array(file.size);
  await file.read(0, weights);
  const files = {
    'config.json': new TextEncoder().encode(JSON.stringify(json)),
    'model.safetensors': weights,
  };
  const alone = { threads: 1, prefix_cache_bytes: 0, image_cache_bytes: 0, ...options };
  const model = await SmolVLMForConditionalGeneration.from_pretrained(files, alone);
  const { model: inner } = model as unknown as { model: Model };
  return { model, inner, config: sizeConfig('256m', cut) };
}
