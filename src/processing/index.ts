/** Pictures and prompts in, tensors out; ids in, text out. Knows neither weights nor the runtime. */
export { type ChatContent, type ChatMessage, findChatTemplate, renderChatTemplate } from './chat-template.js';
export { DEFAULT_MAX_PIXELS, type DecodedImage, type DecodeOptions, decodeImage } from './decode.js';
export { detectFormat } from './formats.js';
export type { ImageProcessorConfig, ImageProcessorOptions } from './image-config.js';
export type { ImageInput, ImagesInput, PixelInput } from './image-input.js';
export { type ImageFeatures, type PreprocessOptions, SmolVLMImageProcessor } from './image-processor.js';
export { expandImageTokens, type ImagePromptTokens, imagePromptString } from './image-prompt.js';
export { setLibjpegModule } from './jpeg/libjpeg.js';
export type { LoadImage } from './message-images.js';
export {
  type ChatOptions,
  type ProcessedInputs,
  type ProcessOptions,
  type ProcessorFiles,
  type ProcessorOptions,
  SmolVLMProcessor,
  type TokenizedChatOptions,
} from './processor.js';
export { type Pixels, RESAMPLING, type ResamplingName, resample } from './resample.js';
export type { PaddingOptions, TextInputs } from './text-batch.js';
export { TextStream } from './text-stream.js';
export { type DecodeTextOptions, SmolVLMTokenizer, type TokenIds } from './tokenizer.js';
