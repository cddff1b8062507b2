/** Videos in, tensors and prompts out. */
export { type OpenOptions, platformVideoDecoder, type VideoDecoder, type VideoFile } from './decoder.js';
export { ffmpegDecoder } from './ffmpeg.js';
export type { FfmpegOptions } from './ffmpeg-process.js';
export { frameTimes, type VideoMetadata } from './metadata.js';
export { numberWords } from './number-words.js';
export { type OpenVideoOptions, openVideo, type VideoInput, type VideosInput } from './open.js';
export type { VideoProcessorConfig, VideoProcessorOptions } from './options.js';
export { expandVideoTokens, VIDEO_CHAT_TEMPLATE, videoPrompt } from './prompt.js';
export { type SampleOptions, sampleFrames } from './sample-frames.js';
export type { VideoSource } from './source.js';
export type { VideoFeatures } from './stack.js';
export { SmolVLMVideoProcessor, type VideoPreprocessOptions } from './video-processor.js';
export { type Mediabunny, webCodecsDecoder } from './webcodecs.js';
