/** Pictures and prompts in, tensors out; ids in, text out. Knows neither weights nor the runtime. */
export {
  type ChatContent,
  type ChatMessage,
  findChatTemplate,
  normalizeMessages,
  renderChatTemplate,
} from './chat-template.js';
export { DEFAULT_MAX_PIXELS, type DecodedImage, type DecodeOptions, decodeImage } from './decode.js';
export * from './fast/index.js';
export { FeatureCache } from './feature-cache.js';
export { detectFormat } from './formats.js';
export type { ImageProcessorConfig, ImageProcessorOptions } from './image-config.js';
export type { ImageInput, ImagesInput, PixelInput } from './image-input.js';
export { type ImageFeatures, type PreprocessOptions, SmolVLMImageProcessor } from './image-processor.js';
export { expandImageTokens, type ImagePromptTokens, imagePromptString } from './image-prompt.js';
export { setLibjpegModule } from './jpeg/libjpeg.js';
export { decodeBase64, type LoadOptions, load_image, MAX_MEDIA_BYTES } from './load-image.js';
export { type LoadImage, loadPicture, type MediaOptions } from './message-media.js';
export { type ProcessedInputs, SmolVLMProcessor } from './processor.js';
export type { Conversation } from './processor-chat.js';
export type { ChatOptions, TokenizedChatOptions } from './processor-chat-options.js';
export { type ProcessorFiles, type ProcessorOptions, readProcessorFiles } from './processor-files.js';
export type {
  CallOptions,
  CommonOptions,
  ImageOptions,
  ImageSource,
  ImageSources,
  ProcessOptions,
} from './processor-options.js';
export type { ProcessorTarget } from './processor-save.js';
export { type Pixels, RESAMPLING, type ResamplingName, resample } from './resample.js';
export type { ExtraTextOutputs, IdTensor, PaddingOptions, TextInputs, TextSequence } from './text-batch.js';
export { TextStream } from './text-stream.js';
export { type DecodeTextOptions, SmolVLMTokenizer, type TokenIds, type TokenSequences } from './tokenizer.js';
export * from './video/index.js';
