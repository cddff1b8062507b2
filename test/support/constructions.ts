/** Counts the typed arrays and buffers that are made while something runs, views included. */

const NAMES = [
  'ArrayBuffer',
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const;

type Constructor = new (...args: unknown[]) => { byteLength: number };

export interface Constructions {
  /** Typed arrays and buffers made, views among them. */
  made: number;
  /** Bytes of those that are no views. */
  bytes: number;
}

/** What `compute` makes. The counter stands in the constructors' places meanwhile; `slice`, `map` and `from` come by it too. */
export async function countConstructions(compute: () => Promise<unknown>): Promise<Constructions> {
  const counted = { made: 0, bytes: 0 };
  const scope = globalThis as unknown as Record<string, Constructor>;
  const own = new Map(NAMES.map((name) => [name, scope[name]]));
  for (const [name, real] of own) {
    scope[name] = new Proxy(real, {
      construct(target, args, newTarget) {
        const made = Reflect.construct(target, args, newTarget) as { byteLength: number };
        counted.made++;
        const isView = args[0] instanceof own.get('ArrayBuffer')! || args[0] instanceof SharedArrayBuffer;
        if (!isView) counted.bytes += made.byteLength;
        return made;
      },
    });
    real.prototype.constructor = scope[name];
  }
  try {
    await compute();
  } finally {
    for (const [name, real] of own) {
      scope[name] = real;
      real.prototype.constructor = real;
    }
  }
  return counted;
}
