/**
 * The few error types of the library. Each says what was wrong, where, what was expected and what was got, both in
 * its message and as fields, so that a program can act on it and a person can read it.
 */

export interface ErrorDetails {
  /** What was wrong, as a sentence without a full stop: "tensor missing from the checkpoint". */
  what: string;
  /** Where: a file, a tensor's name, an argument's name, a byte offset. */
  where: string;
  /** What would have been right. */
  expected?: string;
  /** What was there instead. */
  got?: string;
  cause?: unknown;
}

/** Base of every error that this library throws on purpose (AbortError excepted: that one is the platform's). */
export class SmolVLMError extends Error {
  // Written out, because minifiers rename classes.
  override readonly name: string = 'SmolVLMError';
  readonly what: string;
  readonly where: string;
  readonly expected: string | undefined;
  readonly got: string | undefined;

  constructor(details: ErrorDetails) {
    super(describe(details), details.cause === undefined ? undefined : { cause: details.cause });
    this.what = details.what;
    this.where = details.where;
    this.expected = details.expected;
    this.got = details.got;
  }
}

/** A checkpoint's file or tensor is missing, malformed, truncated, or has another shape or dtype than the config asks. */
export class CheckpointError extends SmolVLMError {
  override readonly name: string = 'CheckpointError';
}

/**
 * What went wrong between here and the hub. Those of the hub's own answers have its names (`X-Error-Code`).
 * - `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`: no such repository, branch, tag or commit, file. Private
 *   repositories look like missing ones to those who may not see them.
 * - `GatedRepo`: its terms must be accepted first. `Unauthorized`, `Forbidden`: the token is missing, wrong or too weak.
 * - `RateLimited`, `ServerError`, `Network`, `Timeout`: passing faults that outlasted every retry.
 * - `BadResponse`: an answer that is none of a hub's.
 * - `SizeMismatch`, `ChecksumMismatch`: the bytes are not the file's, twice; nothing of them was kept.
 * - `PinMismatch`: the hub's file is not the one that weights-manifest.json pins for this commit.
 * - `NoSpace`: the disk or the browser's quota is full. `Storage`: the cache cannot be written or read.
 * - `NotCached`: offline (or `local_files_only`), and the cache has no such snapshot.
 */
export type HubErrorCode =
  | 'RepoNotFound'
  | 'RevisionNotFound'
  | 'EntryNotFound'
  | 'GatedRepo'
  | 'Unauthorized'
  | 'Forbidden'
  | 'RateLimited'
  | 'ServerError'
  | 'Network'
  | 'Timeout'
  | 'BadResponse'
  | 'SizeMismatch'
  | 'ChecksumMismatch'
  | 'PinMismatch'
  | 'NoSpace'
  | 'Storage'
  | 'NotCached';

/** A file could not be had from the hub or from its cache; `expected` says what to do about it. */
export class HubError extends SmolVLMError {
  override readonly name: string = 'HubError';
  readonly code: HubErrorCode;
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined;

  constructor({ code, status, ...details }: ErrorDetails & { code: HubErrorCode; status?: number }) {
    super(details);
    this.code = code;
    this.status = status;
  }
}

/** A config asks for something invalid, or for something valid that this runtime does not implement. */
export class ConfigError extends SmolVLMError {
  override readonly name: string = 'ConfigError';
}

/** An image's bytes cannot be decoded, or its size is out of bounds. */
export class ImageError extends SmolVLMError {
  override readonly name: string = 'ImageError';
}

/** An argument of a public call has the wrong type, shape or value (a prompt longer than the context, say). */
export class InputError extends SmolVLMError {
  override readonly name: string = 'InputError';
}

/** Memory asked for does not fit; the message has the numbers. */
export class MemoryError extends SmolVLMError {
  override readonly name: string = 'MemoryError';
}

/** An object was used after `dispose()`. */
export class DisposedError extends SmolVLMError {
  override readonly name: string = 'DisposedError';
}

/** A worker thread failed or ended by itself. Where it ended, the model is of no more use: dispose of it and load it again. */
export class WorkerError extends SmolVLMError {
  override readonly name: string = 'WorkerError';
}

function describe({ what, where, expected, got }: ErrorDetails): string {
  let text = `${what} (${where})`;
  if (expected !== undefined) text += `: expected ${expected}`;
  if (got !== undefined) text += `${expected === undefined ? ':' : ','} got ${got}`;
  return text;
}

/** The error a cancelled call rejects with: the signal's own reason if it is an Error, else an `AbortError`. */
export function abortError(signal: AbortSignal): Error {
  if (signal.reason instanceof Error) return signal.reason;
  return new DOMException('The operation was aborted', 'AbortError');
}

/** @throws the error a cancelled call rejects with, once the signal is aborted */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}
