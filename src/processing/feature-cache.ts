/** Bytes of the pixel values of one picture of 17 tiles of 512 × 512, with its mask, and a little more. */
const DEFAULT_BYTES = 64 << 20;

interface Entry {
  media: readonly (readonly unknown[])[];
  options: string;
  features: object;
  bytes: number;
}

/**
 * What pictures and videos became, for calls with the same ones: a conversation's later turns, say. They are the same if they
 * are the same objects in the same order, with the same options; paths and URLs are never the same, for what lies there may
 * change. Objects must not be changed while the cache is in use.
 */
export class FeatureCache {
  /** Bytes of features at most; 0 keeps nothing. */
  limit: number;
  /** Oldest use first. */
  #entries: Entry[] = [];

  constructor(limit = DEFAULT_BYTES) {
    this.limit = limit;
  }

  /** Bytes that it holds. */
  get bytes(): number {
    return this.#entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The features of these media by these options: those that are kept, or new ones, which are kept. */
  async features<T extends object>(
    media: readonly (readonly unknown[])[],
    options: object,
    compute: () => Promise<T>,
  ): Promise<T> {
    const text = optionsText(options);
    if (text === undefined || media.flat().some((item) => typeof item !== 'object')) return compute();
    const known = this.#entries.find((entry) => entry.options === text && isSame(entry.media, media));
    if (known) {
      this.#entries = [...this.#entries.filter((entry) => entry !== known), known];
      return { ...(known.features as T) };
    }
    const features = await compute();
    const bytes = bytesOf(features);
    if (bytes > this.limit) return features;
    this.#entries.push({
      media: media.map((list) => [...list]),
      options: text,
      features: { ...features },
      bytes,
    });
    while (this.bytes > this.limit) this.#entries.shift();
    return features;
  }

  clear(): void {
    this.#entries = [];
  }
}

/** Options that hold more than values (a decoder of one's own, say) cannot be told apart: undefined. */
function optionsText(options: object): string | undefined {
  let isPlain = true;
  const text = JSON.stringify(options, (_, value) => {
    if (typeof value === 'function' || value instanceof AbortSignal) isPlain = false;
    return value;
  });
  return isPlain ? text : undefined;
}

function isSame(a: Entry['media'], b: Entry['media']): boolean {
  return (
    a.length === b.length &&
    a.every((list, i) => list.length === b[i].length && list.every((item, j) => item === b[i][j]))
  );
}

function bytesOf(features: object): number {
  return Object.values(features).reduce((sum, value) => {
    const data = (value as { data?: ArrayBufferView } | null)?.data;
    return sum + (ArrayBuffer.isView(data) ? data.byteLength : 0);
  }, 0);
}
