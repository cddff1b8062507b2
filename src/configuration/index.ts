export { LlamaConfig } from './llama-config.js';
export { type ConfigArguments, PretrainedConfig } from './pretrained-config.js';
export type { SaveTarget } from './save-target.js';
export { SmolVLMConfig } from './smolvlm-config.js';
export { SmolVLMVisionConfig } from './vision-config.js';
