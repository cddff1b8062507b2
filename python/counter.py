"""Counter weights: the same checkpoint bits from a name and an index, in any language.

A full-size checkpoint need not travel. Every element is a pure function of (tensor name, element index, global seed), made
of 32-bit integer arithmetic and single IEEE-754 operations, so that Python and TypeScript hold the same bits.

Specification (all integer arithmetic modulo 2^32; `imul`, `fround`, `>>>` as in ECMAScript):

    hash      fnv = 0x811C9DC5; for each byte b of the UTF-8 name: fnv = imul(fnv ^ b, 0x01000193) >>> 0
    seed      s = (fnv ^ globalSeed) >>> 0                                    globalSeed is 0 unless said otherwise
    element   x = (s + imul(i, 0x9E3779B9)) >>> 0                             i = row-major index from 0
              x = imul(x ^ (x >>> 16), 0x85EBCA6B)
              x = imul(x ^ (x >>> 13), 0xC2B2AE35)
              h(i) = (x ^ (x >>> 16)) >>> 0                                   murmur3's finaliser
    unit      u(i) = ((h(i) >>> 8) - 8388608) / 8388608                       in [-1, 1), exact in float32
    value     w(i) = fround(u(i) * scale)                                     scale is a float32; one rounding
              w(i) = fround(w(i) + 1)                                         only where the rule says offset 1
    stored    F32: w(i);  BF16, F16: w(i) rounded to nearest, ties to even    (F16 has subnormals)

The rule of a tensor, from its state-dict name and shape, first match wins (scale is computed in float64 and rounded once):

    name ends with '.bias'                       scale = fround(0.125), offset 0
    one dimension (a norm's weight)              scale = fround(0.25), offset 1
    ends with 'embed_tokens.weight'              scale = fround(1.0 * sqrt(3)), offset 0
    ends with 'position_embedding.weight'        scale = fround(0.5 * sqrt(3)), offset 0
    anything else                                scale = fround(gain * sqrt(3 / fanIn)), offset 0
        fanIn = product of all dimensions but the first
        gain = 4 for 'lm_head.weight', 0.5 for names ending with 'o_proj.weight' or 'out_proj.weight', else 1

A uniform variable on [-a, a) has standard deviation a/sqrt(3), so a layer keeps the size of what it is given; the small gain
of the attention's output keeps 30 layers from forgetting the last token, which is what makes greedy decoding vary.

Pixels: byte i of `inputs.pixel_values` is v = h(i) >>> 24; the processor's rescale and normalise give
p = fround(v * (1 / 255)) (one float64 product, then rounded), then fround(fround(p - 0.5) / 0.5).

A checkpoint folder whose weights are made so holds config.json and `counter.json`, no safetensors:
    {"counter_weights": true, "seed": <globalSeed>, "dtype": "F32" | "F16" | "BF16"}

Usage:
    python python/counter.py                                writes test/goldens/counter.json (test vectors)
    python python/counter.py CONFIG_DIR OUT.safetensors     writes the whole checkpoint of a config as safetensors
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

CHUNK = 1 << 22
DTYPES = ("F32", "F16", "BF16")


def fnv1a(data: bytes) -> int:
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def hashes(name: str, start: int, count: int, seed: int = 0) -> np.ndarray:
    """h(start) ... h(start + count - 1) as uint32."""
    x = np.arange(start, start + count, dtype=np.uint64).astype(np.uint32)
    x *= np.uint32(0x9E3779B9)
    x += np.uint32(fnv1a(name.encode()) ^ seed)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


def rule(name: str, shape) -> tuple[np.float32, int]:
    """(scale, offset) of a tensor, as the table in the module's docstring says."""
    if name.endswith(".bias"):
        return np.float32(0.125), 0
    if len(shape) == 1:
        return np.float32(0.25), 1
    if name.endswith("embed_tokens.weight"):
        return np.float32(1.0 * math.sqrt(3)), 0
    if name.endswith("position_embedding.weight"):
        return np.float32(0.5 * math.sqrt(3)), 0
    fan_in = math.prod(shape[1:])
    gain = 4.0 if name == "lm_head.weight" else 0.5 if name.endswith(("o_proj.weight", "out_proj.weight")) else 1.0
    return np.float32(gain * math.sqrt(3 / fan_in)), 0


def round_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 to bfloat16 bits (uint16), to nearest, ties to even; finite values only."""
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def values(name: str, shape, dtype: str = "F32", seed: int = 0, start: int = 0, count: int | None = None) -> np.ndarray:
    """Elements start ... start + count - 1 as stored: float32, or the uint16 bits of F16 and BF16."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype of counter weights must be one of {DTYPES}, got {dtype!r}")
    scale, offset = rule(name, shape)
    total = math.prod(shape) - start if count is None else count
    out = np.empty(total, np.float32 if dtype == "F32" else np.uint16)
    for at in range(0, total, CHUNK):
        n = min(CHUNK, total - at)
        unit = ((hashes(name, start + at, n, seed) >> np.uint32(8)).astype(np.int32) - np.int32(8388608)).astype(np.float32)
        unit *= np.float32(1 / 8388608)
        unit *= scale
        if offset:
            unit += np.float32(offset)
        out[at : at + n] = (
            unit if dtype == "F32" else unit.astype(np.float16).view(np.uint16) if dtype == "F16" else round_bfloat16(unit)
        )
    return out if count is not None or start else out.reshape(shape)


def as_float32(stored: np.ndarray, dtype: str) -> np.ndarray:
    """What `values` returned, as float32 (exact)."""
    if dtype == "F32":
        return stored
    if dtype == "F16":
        return stored.view(np.float16).astype(np.float32)
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)


def pixels(shape, name: str = "inputs.pixel_values", seed: int = 0) -> np.ndarray:
    """Pixel values as the image processor would make them from the counter's bytes; float32."""
    raw = (hashes(name, 0, math.prod(shape), seed) >> np.uint32(24)).astype(np.float64)
    p = (raw * (1 / 255)).astype(np.float32)
    return ((p - np.float32(0.5)) / np.float32(0.5)).reshape(shape)


def fill(model, dtype: str, seed: int = 0) -> None:
    """Sets every parameter of a torch model to its counter weights, rounded to `dtype`, kept in the model's own dtype."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():  # a tied lm_head appears once, as embed_tokens
            stored = values(name, tuple(parameter.shape), dtype, seed)
            parameter.copy_(torch.from_numpy(as_float32(stored, dtype)))


def vectors() -> list[dict]:
    """Test vectors: for each name, the rule, the first 8 stored bit patterns and FNV-1a over 100,000 values' bytes."""
    cases = [
        ("model.text_model.embed_tokens.weight", (49280, 576), 0),
        ("model.text_model.layers.0.self_attn.q_proj.weight", (576, 576), 0),
        ("model.text_model.layers.29.self_attn.o_proj.weight", (576, 576), 7),
        ("model.text_model.layers.3.mlp.down_proj.weight", (576, 1536), 0xFFFFFFFF),
        ("model.text_model.norm.weight", (100000,), 0),
        ("model.vision_model.embeddings.patch_embedding.weight", (768, 3, 16, 16), 0),
        ("model.vision_model.embeddings.patch_embedding.bias", (100000,), 1),
        ("model.vision_model.embeddings.position_embedding.weight", (1024, 768), 0),
        ("model.connector.modality_projection.proj.weight", (576, 12288), 0),
        ("lm_head.weight", (49280, 576), 0),
    ]
    out = []
    for name, shape, seed in cases:
        scale, offset = rule(name, shape)
        for dtype in DTYPES:
            stored = values(name, shape, dtype, seed, 0, 100000)
            out.append(
                {
                    "name": name,
                    "shape": list(shape),
                    "seed": seed,
                    "dtype": dtype,
                    "scale_bits": int(scale.view(np.uint32)),
                    "offset": offset,
                    "first_bits": [int(v) for v in stored[:8].view(np.uint32 if dtype == "F32" else np.uint16)],
                    "count": 100000,
                    "fnv1a": fnv1a(stored.astype(stored.dtype.newbyteorder("<")).tobytes()),
                }
            )
    return out


def write_checkpoint(config_dir: str, out: str) -> None:
    import torch
    from safetensors.torch import save_file

    from make_golden import load_model

    marker = json.loads(Path(config_dir, "counter.json").read_text())
    torch_dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[marker["dtype"]]
    model, _ = load_model(config_dir, torch.float32)
    save_file({n: p.detach().to(torch_dtype).contiguous() for n, p in model.named_parameters()}, out, {"format": "pt"})


def main() -> None:
    if len(sys.argv) == 3:
        return write_checkpoint(sys.argv[1], sys.argv[2])
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    first = pixels((16,))
    document = {
        "format": "counter-vectors/1",
        "tensors": vectors(),
        "pixels": {"seed": 0, "first_bits": [int(v) for v in first.view(np.uint32)]},
    }
    path = Path(__file__).resolve().parent.parent / "test" / "goldens" / "counter.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{path.name}: {len(document['tensors'])} tensors")


if __name__ == "__main__":
    main()
