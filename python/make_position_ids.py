"""Vision position ids of the reference in three dtypes: test/goldens/position_ids.json.

Usage:
    python python/make_position_ids.py

SmolVLMVisionEmbeddings itself is run (width 1) on masks whose top-left h x w patches are valid; what is kept is what reaches
its position_embedding. The reference counts patches in the dtype of pixel_values, so the ids depend on it:
    - the fraction i / h, and its product with (1 - 1e-6), are rounded to that dtype, so in bfloat16 and float16 the factor is
      lost and a fraction may already have been rounded up to a bucket's boundary (or down from it);
    - the boundaries are arange(1/n, 1, 1/n), always in float32; a value equal to one counts as beyond it. Their number is
      ceil((1 - 1/n) / (1/n)) in float64, which is n, not n - 1, for 6, 27 and some others. Their last bits depend on the vector
      width of the CPU that runs torch, but no id does: checked for every n to 129 and every h to n in the three dtypes against
      boundaries of fround(1/n + i * (1/n)).
In the file: `cases` of {side, h, w, row_ids: {dtype: [w]}, column_ids: {dtype: [h]}} and the whole grid's FNV-1a (over its side²
ids as little-endian int64, masked patches 0): a valid patch's id is column_ids[y] * side + row_ids[x], any other's is 0.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings

import counter

OUT = Path(__file__).resolve().parent.parent / "test" / "goldens" / "position_ids.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SIDES = (4, 6, 27, 32)


def sizes(side):
    """(h, w) of the valid patches: the whole grid, every square side once, and some oblong ones."""
    oblong = [(1, side), (side, 1), (side, side - 1), (side - 1, side), (side // 2, side), (side, side // 3 or 1), (3, 2)]
    return list(dict.fromkeys([(side, side)] + [(n, side + 1 - n) for n in range(1, side + 1)] + oblong))


def position_ids(side, h, w, dtype):
    """[side, side] ids as the reference's embedding is asked for them."""
    config = SmolVLMVisionConfig(hidden_size=1, num_attention_heads=1, image_size=side, patch_size=1)
    module = SmolVLMVisionEmbeddings(config).to(dtype)
    seen = []
    module.position_embedding.register_forward_pre_hook(lambda m, args: seen.append(args[0].clone()))
    mask = torch.zeros((1, side, side), dtype=torch.bool)
    mask[0, :h, :w] = True
    with torch.no_grad():
        module(torch.zeros((1, 3, side, side), dtype=dtype), mask)
    return seen[0].reshape(side, side).numpy()


def main():
    torch.set_num_threads(1)
    cases = []
    for side in SIDES:
        for h, w in sizes(side):
            entry = {"side": side, "h": h, "w": w, "row_ids": {}, "column_ids": {}, "fnv1a": {}}
            for name, dtype in DTYPES.items():
                grid = position_ids(side, h, w, dtype)
                rows, columns = grid[0, :w] % side, grid[:h, 0] // side
                expected = np.zeros_like(grid)
                expected[:h, :w] = columns[:, None] * side + rows[None, :]
                assert (grid == expected).all(), "the ids are not a product of a row and a column"
                entry["row_ids"][name] = rows.tolist()
                entry["column_ids"][name] = columns.tolist()
                entry["fnv1a"][name] = counter.fnv1a(grid.astype("<i8").tobytes())
            cases.append(entry)
    counts = {str(n): len(torch.arange(1 / n, 1.0, 1 / n)) for n in SIDES}
    document = {
        "format": "position-ids/1",
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "boundary_counts": counts,
        "cases": cases,
    }
    head = {k: v for k, v in document.items() if k != "cases"}
    lines = ",\n".join("  " + json.dumps(c) for c in cases)
    OUT.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")
    print(f"{OUT.name}: {len(cases)} cases, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
