"""Greedy ids of a model of the real 256M size with counter weights: test/goldens/full-size-256m.json.

Usage:
    python python/make_full_size.py [--seed N] [--threads N]     about 3 GB of memory, a minute or two

The weights are BF16 counter weights (counter.py) of global seed N, loaded as float32; the picture is one tile of 512x512
counter pixels; the prompt is `prompt_ids`, fixed below: a chat turn's shape, 64 <image> tokens, a few dozen other ids. Greedy
decoding runs in float32, its 32 ids are kept; then the model runs in float64 along the same ids to say how far the two best
logits were apart at every step. Refused if fewer than 8 ids are distinct, if a gap is below 1e-3, or if float64 would have chosen
another id. The vision position ids are float32's (`position_dtype`), although the config's torch_dtype is bfloat16.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

import counter
from float64_twin import POSITION_EMBEDDING, float64_reference
from make_golden import greedy, load_model

OUT = Path(__file__).resolve().parent.parent / "test" / "goldens" / "full-size-256m.json"
NEW_TOKENS, MIN_DISTINCT, MIN_GAP = 32, 8, 1e-3
IMAGE, FAKE, GLOBAL, END = 49190, 49189, 49152, 49279

CONFIG = {
    "architectures": ["Idefics3ForConditionalGeneration"],
    "model_type": "idefics3",
    "image_token_id": IMAGE,
    "pad_token_id": 2,
    "scale_factor": 4,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "text_config": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "hidden_act": "silu",
        "vocab_size": 49280,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "pad_token_id": 2,
    },
    "vision_config": {
        "model_type": "idefics3_vision",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 512,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
}


def prompt_ids():
    """A chat turn's shape: start, role, the tile between its markers, text ids spread over the vocabulary, end, role."""
    text = [(7919 * i + 613) % 49000 + 60 for i in range(30)]
    return [1, 11126, 42, FAKE, GLOBAL] + [IMAGE] * 64 + [FAKE] + text + [END, 198, 9519, 9531, 42]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pixels = counter.pixels((1, 1, 3, 512, 512))
    ids = prompt_ids()
    marker = {"counter_weights": True, "dtype": "BF16", "seed": args.seed}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(CONFIG))
        Path(folder, "counter.json").write_text(json.dumps(marker))
        model, _ = load_model(folder, torch.float32)
    inputs = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones((1, len(ids)), dtype=torch.int64),
        "pixel_values": torch.from_numpy(pixels),
    }
    recorded = []
    embedding = model.get_submodule(POSITION_EMBEDDING)
    handle = embedding.register_forward_hook(lambda module, a, out: recorded.append(a[0].clone()))
    started = time.time()
    sequences, logits32 = greedy(model, inputs, NEW_TOKENS)
    handle.remove()
    new = sequences[0, len(ids) :].tolist()
    print(f"float32: {new} in {time.time() - started:.1f} s", flush=True)
    with float64_reference(model, recorded[0]):
        _, logits = greedy(model, inputs, NEW_TOKENS, sequences)
    best = logits[0].topk(2, dim=-1)
    gaps = (best.values[:, 0] - best.values[:, 1]).tolist()
    error = float((logits32.double() - logits).abs().max())
    print(f"float64: smallest gap {min(gaps):.4g}, {len(set(new))} distinct, float32's largest logit error {error:.2g}")
    if best.indices[:, 0].tolist() != new or len(set(new)) < MIN_DISTINCT or min(gaps) < MIN_GAP:
        sys.exit("make_full_size: this seed does not separate its tokens well enough; try another --seed")
    document = {
        "format": "smolvlm-full-size/1",
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "position_dtype": "float32",
        "counter": marker,
        "config": CONFIG,
        "pixel_values": {
            "name": "inputs.pixel_values",
            "seed": 0,
            "shape": [1, 1, 3, 512, 512],
            "fnv1a": counter.fnv1a(pixels.astype("<f4").tobytes()),
        },
        "input_ids": ids,
        "input_ids_fnv1a": counter.fnv1a(inputs["input_ids"].numpy().astype("<i8").tobytes()),
        "new_ids": new,
        "gaps_float64": [float(f"{g:.8g}") for g in gaps],
        "best_logit_float64": [float(f"{v:.10g}") for v in best.values[:, 0].tolist()],
        "float32_max_logit_error": float(f"{error:.3g}"),
    }
    OUT.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{OUT.name}: written")


if __name__ == "__main__":
    main()
