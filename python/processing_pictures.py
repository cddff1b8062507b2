"""Pictures for the processing goldens: integer formulas that TypeScript repeats, and PNG files that no library writes.

`formula(kind, height, width, channels)` must give the same bytes as test/processing/pictures.ts.
"""

import struct
import zlib

import numpy as np


def formula(kind: str, height: int, width: int, channels: int) -> np.ndarray:
    """uint8 [height, width, channels]: `wave` is smooth with hard edges, `noise` hashes the position."""
    y, x, c = np.meshgrid(
        np.arange(height, dtype=np.uint32),
        np.arange(width, dtype=np.uint32),
        np.arange(channels, dtype=np.uint32),
        indexing="ij",
    )
    if kind == "wave":
        value = (x * (c + 3) + y * (2 * c + 5) + ((x * y) >> 6)) >> 1
        value = np.where((((x >> 4) + (y >> 4)) & 1) == 1, 255 - (value & 255), value)
    elif kind == "noise":
        value = (x * np.uint32(73856093)) ^ (y * np.uint32(19349663)) ^ (c * np.uint32(83492791))
        value = ((value ^ (value >> 15)) * np.uint32(2654435761)) >> 21
    else:
        raise ValueError(kind)
    return (value & 255).astype(np.uint8)


def png(samples: np.ndarray, depth: int, color_type: int, *, interlaced=False, chunks=(), late=()) -> bytes:
    """A PNG file of samples [height, width, samples per pixel] (below 2**depth), its rows filtered by 0, 1, 2, 3, 4 in turn.

    `chunks` go before the pixels, `late` ones after them: pairs of type and content.
    """
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b"".join(_filtered(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    data = zlib.compress(raw, 9)
    half = len(data) // 2  # two IDAT chunks, as large files have
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data[:half]), (b"IDAT", data[half:]), *late, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filtered(samples: np.ndarray, depth: int) -> bytes:
    height, width, per_pixel = samples.shape
    if height == 0 or width == 0:
        return b""
    step = max(1, depth * per_pixel // 8)
    previous, out = None, b""
    for y in range(height):
        row = _packed(samples[y].reshape(-1), depth).astype(np.int64)
        above = np.zeros_like(row) if previous is None else previous
        left = np.concatenate([np.zeros(step, np.int64), row])[: len(row)]
        corner = np.concatenate([np.zeros(step, np.int64), above])[: len(row)]
        kind = y % 5
        if kind == 4:
            estimate = left + above - corner
            pa, pb, pc = abs(estimate - left), abs(estimate - above), abs(estimate - corner)
            guess = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
        else:
            guess = [0 * row, left, above, (left + above) >> 1][kind]
        out += bytes([kind]) + ((row - guess) & 255).astype(np.uint8).tobytes()
        previous = row
    return out


def _packed(row: np.ndarray, depth: int) -> np.ndarray:
    if depth == 8:
        return row.astype(np.uint8)
    if depth == 16:
        return np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
    bits = (row[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(bits.reshape(-1))
