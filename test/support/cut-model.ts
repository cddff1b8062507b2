/** A model of the 256M size's real widths that is cut to two layers and a small vocabulary, with counter weights. */
import { sizeConfig, sizeJson } from '../../bench/sizes.js';
import { generationConfigOf } from '../../src/generation/config.js';
import { type SmolVLMConfig as ModelConfig, parseConfig } from '../../src/model/config.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { Loaded } from '../../src/modeling/load-pretrained.js';
import { SmolVLMConfig, SmolVLMForConditionalGeneration } from '../../src/modeling.js';
import { counterFolder } from './counter.js';

const CUT = { layers: 2, vocab_size: 1000 };

export interface CutModel {
  /** The public model … */
  readonly model: SmolVLMForConditionalGeneration;
  /** … and what is inside. */
  readonly inner: Model;
  readonly config: ModelConfig;
}

export async function cutModel(): Promise<CutModel> {
  const json = sizeJson('256m', CUT);
  const inner = await loadModel(counterFolder(json, { dtype: 'BF16' }));
  const generation = generationConfigOf(parseConfig(json));
  const config = SmolVLMConfig.from_dict(json as Record<string, unknown>);
  const model = new SmolVLMForConditionalGeneration(config, new Loaded(inner), generation);
  return { model, inner, config: sizeConfig('256m', CUT) };
}
