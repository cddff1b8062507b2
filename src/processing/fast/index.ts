/** What torchvision computes: the fast image processor's types and the resize it shares with the video processor. */
export {
  type FastImageFeatures,
  type FastImageInput,
  type FastImageProcessorConfig,
  type FastImageProcessorOptions,
  type FastImagesInput,
  type FastPreprocessOptions,
  SmolVLMImageProcessorFast,
} from '../image-processor-fast.js';
export type { SizeDict, SizeInput } from './options.js';
export type { ArrayInput, ChannelFormat, Planes } from './planes.js';
export { type ResizeVersion, resizePlanes } from './resize.js';
