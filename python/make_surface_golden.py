"""Writes test/goldens/surface/: what the reference's classes answer to every argument of the model page, on tiny checkpoints.

Usage:
    python python/make_surface_golden.py

`surface.safetensors` holds, for each call, `<call>.inputs.<name>`, `<call>.outputs.<name>` and the same outputs from a run that is
float64 throughout, `f64.<call>.outputs.<name>`; lists are `hidden_states.<i>`, `attentions.<i>`, `past_key_values.<i>.keys`.
`calls.json` says for each call its checkpoint (a folder of test/goldens), its class, its other arguments, the call whose cache it
continues (and where that is cropped first), and the names of the outputs in the order of the tuple that `return_dict=False` gives.
`configs.json` holds configs as dicts and as JSON, `saved.json` what `save_pretrained` writes, `random.json` the first values of the
documented generator of random weights, computed here independently.
"""

import copy
import hashlib
import json
import math
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
import transformers
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMModel
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

from float64_twin import float64_reference
from golden_file import write_golden
from surface_calls import ROOT, SCENARIOS, Run, load

OUT = ROOT / "surface"
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__}

def run_scenarios():
    tensors, calls = {}, []
    for checkpoint, scenario in SCENARIOS:
        run = Run(checkpoint, load(checkpoint))
        scenario(run)
        twin = Run(checkpoint, load(checkpoint), run.position_ids)
        with float64_reference(twin.model):
            scenario(twin)
        outputs = {n: t for n, t in twin.tensors.items() if ".outputs." in n}
        assert all(t.dtype == torch.float64 for t in outputs.values())
        worst = max(nmse(run.tensors[n], t) for n, t in outputs.items())
        print(f"{checkpoint}: {len(run.calls)} calls, worst NMSE of float32 {worst:.1e}")
        tensors |= run.tensors | {f"f64.{n}": t for n, t in outputs.items()}
        calls += run.calls
    metadata = {"format": "smolvlm-surface/1", **VERSIONS, "dtype": "float32", "attn": "eager"}
    write_golden(tensors, OUT / "surface.safetensors", metadata)
    document = {"versions": VERSIONS, "calls": calls}
    (OUT / "calls.json").write_text(json.dumps(document, indent=1) + "\n")


def nmse(a, b):
    b = b.double()
    return float(((a.double() - b) ** 2).sum() / (b**2).sum().clamp_min(1e-300))


CONFIGS = [
    (SmolVLMConfig, {}),
    (SmolVLMVisionConfig, {}),
    (LlamaConfig, {}),
    (SmolVLMVisionConfig, {"hidden_size": 48, "patch_size": 16, "foo": 3, "bar": {"a": [1]}, "torch_dtype": "bfloat16"}),
    (LlamaConfig, {"num_attention_heads": 4, "hidden_size": 50, "tie_word_embeddings": True, "pad_token_id": 2}),
    (LlamaConfig, {"rope_scaling": {"type": "linear", "factor": 2.0}, "num_labels": 3}),
    (SmolVLMConfig, {"text_config": {"hidden_size": 64, "num_attention_heads": 4}, "vision_config": {"hidden_size": 32},
                     "scale_factor": 4, "output_attentions": True, "torch_dtype": "bfloat16", "foo": [1, None], "use_cache": False}),
    (SmolVLMConfig, {"image_token_id": 49190, "pad_token_id": 2, "tie_word_embeddings": True, "eos_token_id": [1, 2], "return_dict": False,
                     "dtype": "float16", "name_or_path": "somewhere", "initializer_range": 0.05, "max_length": 40}),
]  # fmt: skip


def write_configs():
    out = []
    for cls, kwargs in CONFIGS:
        config = cls(**copy.deepcopy(kwargs))
        out.append({"class": cls.__name__, "kwargs": kwargs, "dict": json.loads(config.to_json_string(use_diff=False)),
                    "json": json.loads(config.to_json_string())})  # fmt: skip
    files = []
    for name in ("one-image", "relu-right-padded"):
        config = SmolVLMConfig.from_pretrained(ROOT / name)
        files.append({"checkpoint": name, "json": json.loads(config.to_json_string()),
                      "vision": json.loads(SmolVLMVisionConfig.from_pretrained(ROOT / name).to_json_string()),
                      "text": json.loads(LlamaConfig.from_pretrained(ROOT / name).to_json_string())})  # fmt: skip
    document = {"versions": VERSIONS, "configs": out, "checkpoints": files}
    (OUT / "configs.json").write_text(json.dumps(document, indent=1) + "\n")


SAVED = [
    (checkpoint, level, "auto", size)
    for checkpoint in ("one-image", "relu-right-padded")
    for level in ("vision", "base", "causal")
    for size in ("5GB", "20KB")
] + [(checkpoint, "causal", dtype, "5GB") for checkpoint, dtype in
     (("one-image", "bfloat16"), ("one-image", "float16"), ("relu-right-padded", "float32"), ("relu-right-padded", "float16"))]  # fmt: skip


def write_saved():
    """What save_pretrained of each class writes, in one file and in shards, and after loading in another dtype."""
    out = []
    for checkpoint, level, dtype, size in SAVED:
        # Each from a config of its own: saving writes the class into it.
        cls = SmolVLMForConditionalGeneration if level == "causal" else SmolVLMModel
        model = cls.from_pretrained(ROOT / checkpoint, dtype=dtype if dtype == "auto" else getattr(torch, dtype))
        model = model.vision_model if level == "vision" else model
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, max_shard_size=size)
            files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(folder).glob("*.safetensors")}
            index = Path(folder, "model.safetensors.index.json")
            out.append({"checkpoint": checkpoint, "level": level, "dtype": dtype, "max_shard_size": size,
                        "files": dict(sorted(files.items())), "index": json.loads(index.read_text()) if index.exists() else None,
                        "config": json.loads(Path(folder, "config.json").read_text())})  # fmt: skip
    (OUT / "saved.json").write_text(json.dumps({"versions": VERSIONS, "saved": out}, indent=1) + "\n")


MASK = 0xFFFFFFFF


def random_value(name, seed, index):
    """A standard normal value by the rule in src/model/random-weights.ts, with Python's own logarithm."""
    own = 0x811C9DC5
    for byte in name.encode():
        own = (own ^ byte) * 0x01000193 & MASK
    own ^= seed & MASK
    lane = 1
    while True:
        pair = []
        for offset in (lane, lane + 1):
            x = (own + 0x632BE5AB * offset + index * 0x9E3779B9) & MASK
            x = (x ^ x >> 16) * 0x85EBCA6B & MASK
            x = (x ^ x >> 13) * 0xC2B2AE35 & MASK
            pair.append((x ^ x >> 16) / 2**31 - 1 + 2**-32)
        s = pair[0] ** 2 + pair[1] ** 2
        if 0 < s < 1:
            return pair[0] * math.sqrt(-2 * math.log(s) / s)
        lane += 2


def write_random():
    cases = []
    for name, seed, first in (("lm_head.weight", 0, 0), ("model.connector.modality_projection.proj.weight", 12345, 1000), ("a", -7, 2**20)):
        values = [random_value(name, seed, first + i) for i in range(64)]
        cases.append({"name": name, "seed": seed, "first": first, "values": values})
    (OUT / "random.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    run_scenarios()
    write_configs()
    write_saved()
    write_random()
