"""Inverse frequencies of the reference under rope_scaling: test/goldens/rope-scaling.json.

Usage:
    python python/make_rope_scaling.py

For each (theta, dim, scaling) LlamaRotaryEmbedding is built with and without the scaling; in the file, per table, as float32 bits:
    default    the reference's buffer without scaling [dim/2], which the scaling starts from
    inv_freq   the same with it
The power in `default` depends on the CPU's vector unit by one in the last place; the scaling's own steps do not.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

OUT = Path(__file__).resolve().parent.parent / "test" / "goldens" / "rope-scaling.json"


def linear(factor, name="rope_type"):
    return {name: "linear", "factor": factor}


def llama3(factor, low, high, context):
    return {"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": context}  # fmt: skip


TABLES = [
    (10000.0, 64, linear(2.0)),
    (100000.0, 64, linear(4, "type")),
    (273768.0, 10, linear(2.7)),
    (130000.0, 64, linear(1.1)),
    (500000.0, 128, llama3(8.0, 1.0, 4.0, 8192)),
    (500000.0, 64, llama3(32.0, 1.0, 4.0, 8192)),
    (273768.0, 64, llama3(3.3, 1.25, 5.7, 2048)),
    (130000.0, 64, llama3(4, 1, 4, 8192)),
    (10000.0, 12, llama3(8.0, 1.0, 4.0, 64)),
    (100000.0, 80, llama3(2.5, 0.7, 9.0, 1000)),
]


def bits(theta, dim, scaling):
    config = LlamaConfig(hidden_size=dim, num_attention_heads=1, num_key_value_heads=1, head_dim=dim, rope_theta=theta,
                         max_position_embeddings=1 << 17, rope_scaling=scaling and dict(scaling))  # fmt: skip
    return LlamaRotaryEmbedding(config).inv_freq.numpy().view(np.uint32).tolist()


def main():
    torch.set_num_threads(1)
    lines = []
    for theta, dim, scaling in TABLES:
        table = {"theta": theta, "dim": dim, "rope_scaling": scaling, "default": bits(theta, dim, None)}
        lines.append(json.dumps({**table, "inv_freq": bits(theta, dim, scaling)}, separators=(",", ":")))
    head = {"format": "rope-scaling/1", "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    OUT.write_text(json.dumps(head)[:-1] + ', "tables": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{OUT.name}: {len(lines)} tables, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
