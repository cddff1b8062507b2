import { hasFiles, nodeCrypto } from '../node.js';

/** A digest that takes its bytes piece by piece. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** In hexadecimal digits; nothing can be added after that. */
  digest(): string;
}

/** What a file's content is known by. */
export interface Digest {
  /** `git`: SHA-1 of git's blob object, which begins with the size. */
  readonly kind: 'sha256' | 'git';
  readonly hex: string;
}

/** A hasher of a digest's kind, OpenSSL's where there is one: WebCrypto takes no pieces. */
export async function createHasher(kind: Digest['kind'], size: number): Promise<Hasher> {
  const hasher = await plainHasher(kind === 'git' ? 'sha1' : 'sha256');
  if (kind === 'git') hasher.update(new TextEncoder().encode(`blob ${size}\0`));
  return hasher;
}

async function plainHasher(name: 'sha1' | 'sha256'): Promise<Hasher> {
  if (hasFiles()) {
    const { createHash } = await nodeCrypto();
    const hash = createHash(name);
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
  }
  return scriptHasher(name);
}

/** The hasher of places without `node:crypto`. */
export async function scriptHasher(name: 'sha1' | 'sha256'): Promise<Hasher> {
  const [{ sha256 }, { sha1 }, { bytesToHex }] = await Promise.all([
    import('@noble/hashes/sha2.js'),
    import('@noble/hashes/legacy.js'),
    import('@noble/hashes/utils.js'),
  ]);
  const hash = (name === 'sha1' ? sha1 : sha256).create();
  return { update: (bytes) => void hash.update(bytes), digest: () => bytesToHex(hash.digest()) };
}
