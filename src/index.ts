/** smolvlm-wasm: SmolVLM vision-language models over WebAssembly kernels. See README.md. */
export { AutoProcessor } from './auto-processor.js';
export { Answer, type AnswerResult, type Timings, type Usage } from './chat/answer.js';
export type { AnswerOptions, AnswerProgress, CallHooks } from './chat/ask.js';
export type { MediaOption, MediaPiece, MediaSource, UserContent } from './chat/content.js';
export { ChatSession, type SendOptions, type SessionOptions } from './chat/session.js';
export type { CheckpointLocation } from './checkpoint/folder.js';
export type { HubOptions } from './checkpoint/hub/options.js';
export { type Snapshot, type SnapshotOptions, snapshot_download } from './checkpoint/hub/snapshot.js';
export type { LoadProgress, ProgressCallback } from './checkpoint/progress.js';
export {
  CheckpointError,
  ConfigError,
  DisposedError,
  type ErrorDetails,
  HubError,
  type HubErrorCode,
  ImageError,
  InputError,
  MemoryError,
  SmolVLMError,
  WorkerError,
} from './errors.js';
export type { SmolVLMTextConfig } from './model/config.js';
export * from './modeling.js';
export * from './processing/index.js';
export type { HostTensor } from './runtime/tensor.js';
export { SmolVLM, type SmolVLMOptions } from './smolvlm.js';
