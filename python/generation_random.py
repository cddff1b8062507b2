"""The draws of sampling: src/generation/random.ts and the f32_sample kernel written a second time."""

from contextlib import contextmanager

import torch

from make_golden import GoldenError

MASK = 0xFFFFFFFF
GOLDEN_RATIO = 0x9E3779B9


def mix(x):
    """MurmurHash3's 32-bit finalizer."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & MASK
    return x ^ (x >> 16)


class Random:
    """xoshiro128** with the seeding of src/generation/random.ts."""

    def __init__(self, seed, row, sequence):
        h = 0
        for word in (seed & MASK, seed >> 32, row, sequence, 0):
            h = (mix(h ^ word) + GOLDEN_RATIO) & MASK
        self.s = [mix((h + i * GOLDEN_RATIO) & MASK) for i in range(1, 5)]

    def uint32(self):
        s = self.s
        rotate = lambda x, k: ((x << k) | (x >> (32 - k))) & MASK  # noqa: E731
        result = (rotate((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 9) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 11)
        return result

    def uniform(self):
        high, low = self.uint32() >> 5, self.uint32() >> 6
        return (high * 2**26 + low) * 2.0**-53


def draw(probabilities, u):
    """The first id whose share of the distribution function exceeds u."""
    sums = probabilities.double().cumsum(0)
    target = u * sums[-1]
    if float((sums - target).abs().min()) < 2e-7:
        raise GoldenError("a draw falls on the border of two ids: take another seed")
    return int((sums > target).nonzero()[0])


@contextmanager
def seeded_multinomial(seed, sequences_per_row):
    """torch.multinomial drawing from the streams (seed, row, sequence), several draws without replacement."""
    streams, real = {}, torch.multinomial

    def multinomial(probabilities, num_samples):
        out = []
        for i, row in enumerate(probabilities):
            key = divmod(i, sequences_per_row)
            stream = streams.setdefault(key, Random(seed, *key))
            row, ids = row.clone(), []
            for _ in range(num_samples):
                ids.append(draw(row, stream.uniform()))
                row[ids[-1]] = 0
            out.append(ids)
        return torch.tensor(out)

    torch.multinomial = multinomial
    try:
        yield
    finally:
        torch.multinomial = real
