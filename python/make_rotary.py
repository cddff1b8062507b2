"""Rotary tables of the reference: test/goldens/rotary.json.

Usage:
    python python/make_rotary.py            needs mpmath (a dependency of torch) for the correctly rounded values

For each (theta, dim) LlamaRotaryEmbedding is built and run at the positions listed. In the file, per table, as float32 bits:
    inv_freq            the reference's buffer [dim/2]
    inv_freq_stepwise   fround(1 / fround(theta ^ fround(2i / dim))), each step correctly rounded
    rows                per position: cos and sin [dim/2] as the reference gives them, and cos_exact, sin_exact: the same angle
                        fround(position * inv_freq) through a correctly rounded cosine and sine
The second half of a row of cos or sin repeats the first, so only the first is kept. torch's power and cosine are not correctly
rounded and depend on the CPU's vector unit; `inv_freq` and `cos` may differ by one in the last place from the exact columns.
"""

import json
from pathlib import Path

import mpmath
import numpy as np
import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

OUT = Path(__file__).resolve().parent.parent / "test" / "goldens" / "rotary.json"
TABLES = [(10000.0, 64), (100000.0, 64), (273768.0, 64), (130000.0, 64), (10000.0, 6), (10000.0, 10), (10000.0, 12),
          (10000.0, 14), (100000.0, 10), (273768.0, 10), (500000.0, 72), (10000.0, 80), (10000.0, 128)]  # fmt: skip
POSITIONS = (0, 1, 2, 3, 13, 64, 100, 1023, 4097, 8191, 16383)


def bits(values):
    return np.asarray(values, dtype=np.float32).view(np.uint32).tolist()


def round_float32(value):
    """A high-precision number to float32, to nearest, ties to even."""
    with mpmath.workprec(24):
        return np.float32(float(+value))


def exact(function, angles):
    with mpmath.workprec(200):
        return [round_float32(function(mpmath.mpf(float(a)))) for a in angles]


def stepwise(theta, dim):
    out = []
    with mpmath.workprec(200):
        for i in range(0, dim, 2):
            power = round_float32(mpmath.power(mpmath.mpf(theta), mpmath.mpf(float(np.float32(i) / np.float32(dim)))))
            out.append(np.float32(1) / power)
    return np.array(out, dtype=np.float32)


def table(theta, dim):
    config = LlamaConfig(hidden_size=dim, num_attention_heads=1, num_key_value_heads=1, head_dim=dim, rope_theta=theta)
    module = LlamaRotaryEmbedding(config)
    inv_freq = module.inv_freq.numpy()
    half = dim // 2
    with torch.no_grad():
        cos, sin = module(torch.zeros(1, dtype=torch.float32), torch.tensor([POSITIONS]))
    rows = []
    for r, position in enumerate(POSITIONS):
        angles = np.float32(position) * inv_freq
        rows.append(
            {
                "position": position,
                "cos": bits(cos[0, r, :half].numpy()),
                "sin": bits(sin[0, r, :half].numpy()),
                "cos_exact": bits(exact(mpmath.cos, angles)),
                "sin_exact": bits(exact(mpmath.sin, angles)),
            }
        )
    steps = stepwise(theta, dim)
    differ = int((steps.view(np.uint32) != inv_freq.view(np.uint32)).sum())
    off = sum(a != b for row in rows for n in ("cos", "sin") for a, b in zip(row[n], row[n + "_exact"]))
    print(f"theta {theta:g} dim {dim}: inv_freq differs from stepwise in {differ}/{half}, cos and sin in {off}/{2 * half * len(rows)}")
    return {"theta": theta, "dim": dim, "inv_freq": bits(inv_freq), "inv_freq_stepwise": bits(steps), "rows": rows}


def main():
    torch.set_num_threads(1)
    tables = [table(theta, dim) for theta, dim in TABLES]
    head = {"format": "rotary/1", "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    lines = ",\n".join(json.dumps(t, separators=(",", ":")) for t in tables)
    OUT.write_text(json.dumps(head)[:-1] + ', "tables": [\n' + lines + "\n]}\n")
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
