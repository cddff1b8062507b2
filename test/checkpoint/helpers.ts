import * as assert from 'uvu/assert';
import type { SmolVLMError } from '../../src/errors.js';

type ErrorClass = abstract new (...args: never[]) => SmolVLMError;

/** What an error must say; each given part must occur in the error's field of that name. */
export interface ErrorParts {
  what?: string;
  where: string;
  expected: string;
  got: string;
}

/** Holds if `run` throws (or rejects with) an error of exactly this type whose fields contain these parts. */
export async function rejects(run: () => unknown, type: ErrorClass, parts: ErrorParts): Promise<void> {
  let caught: unknown;
  try {
    await run();
  } catch (error) {
    caught = error;
  }
  assert.ok(caught !== undefined, `nothing was thrown where ${type.name} was expected`);
  assert.ok(
    caught instanceof type,
    `expected ${type.name}, got ${String(caught)}\n${(caught as Error)?.stack}`,
  );
  assert.is((caught as Error).constructor, type);
  for (const [field, part] of Object.entries(parts) as [keyof ErrorParts, string][]) {
    const text = (caught as SmolVLMError)[field];
    assert.ok(
      text?.includes(part),
      `${field} is ${JSON.stringify(text)}, which lacks ${JSON.stringify(part)}`,
    );
    assert.ok((caught as Error).message.includes(part), `the message lacks ${part}`);
  }
}

/** A safetensors file with any header, lying ones included. `length` overrides the header's true length. */
export function rawSafetensors(header: string | Uint8Array, data: Uint8Array | number = 0, length?: bigint) {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = typeof data === 'number' ? new Uint8Array(data) : data;
  const file = new Uint8Array(8 + text.length + bytes.length);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(bytes, 8 + text.length);
  return file;
}

/** The header's text for tensors given as [dtype, shape, begin, end]. */
export function headerOf(tensors: Record<string, [string, unknown, unknown, unknown]>): string {
  const fields = Object.entries(tensors).map(
    ([name, [dtype, shape, begin, end]]) =>
      `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`,
  );
  return `{${fields.join(',')}}`;
}

/** Pseudo-random integers 0 … 2^32 − 1, the same on every machine (mulberry32). */
export function randomIntegers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** A fetch Response that gives its body in pieces of `piece` bytes. */
export function streamed(bytes: Uint8Array, piece: number, headers: Record<string, string> = {}): Response {
  let at = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + piece));
      at += piece;
    },
  });
  return new Response(body, { headers });
}
