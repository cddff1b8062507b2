"""LoRA adapters made by peft for the tiny checkpoints, and goldens of the merged models: test/goldens/adapters/<name>/.

Usage:
    python python/make_adapter_golden.py [NAME ...]      needs peft 0.17.1 besides the reference

Each folder holds what peft's save_pretrained writes (adapter_config.json, adapter_model.safetensors; the base's path is made
relative), `merged.safetensors` with every tensor that merge_and_unload changes, in the base's dtype, and golden.safetensors
(smolvlm-golden/1) of the merged model. test/goldens/adapters/cases.json lists them. The adapter is loaded again from its files
before it is merged, into a base in its own dtype, so what peft does with dtypes while loading is part of the golden.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from golden_file import write_golden
from golden_inputs import build_inputs
from make_golden import load_model, make_golden

GOLDENS = Path(__file__).resolve().parent.parent / "test" / "goldens"
ROOT = GOLDENS / "adapters"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

CASES = [
    {
        "name": "all-linear",
        "base": "one-image",
        "dtype": "F32",
        "lora": {"r": 3, "lora_alpha": 3, "target_modules": "all-linear", "use_rslora": True},
        "covers": ["all-linear", "rslora", "vision tower, connector and text", "the adapter's tensors in F16"],
        "adapter_dtype": "F16",
    },
    {
        "name": "patterns",
        "base": "one-image",
        "dtype": "F32",
        "lora": {"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj", "fc1", "patch_embedding", "position_embedding",
                                                             "embed_tokens", "lm_head"],
                 "rank_pattern": {"lm_head": 4, r"text_model.layers.\d+.self_attn.q_proj": 3}, "alpha_pattern": {"fc1": 9},
                 "exclude_modules": ["model.vision_model.encoder.layers.0.mlp.fc1"]},
        "covers": ["list of modules", "rank_pattern", "alpha_pattern", "exclude_modules", "embeddings", "convolution", "lm_head"],
    },
    {
        "name": "f16-layers",
        "base": "silu-image-states",
        "dtype": "F16",
        "lora": {"r": 4, "lora_alpha": 6, "target_modules": ["k_proj", "down_proj", "proj", "embed_tokens", "patch_embedding"],
                 "modules_to_save": ["lm_head", "post_layernorm"]},
        "covers": ["F16 base", "modules_to_save", "an embedding and a convolution in F16", "connector"],
    },
    {
        "name": "bf16-bias",
        "base": "relu-right-padded",
        "dtype": "BF16",
        "lora": {"r": 2, "lora_alpha": 4, "target_modules": r"model\.(text|vision)_model\..*\.(?P<name>o_proj|out_proj|gate_proj|fc2)",
                 "bias": "all"},
        "covers": ["BF16 base", "a regular expression", "bias all"],
    },
    {
        "name": "layers",
        "base": "one-image",
        "dtype": "F32",
        "lora": {"r": 2, "lora_alpha": 3, "target_modules": ["up_proj", "o_proj", "fc2"], "layers_to_transform": [1],
                 "layers_pattern": "layers"},
        "covers": ["layers_to_transform"],
    },
]  # fmt: skip


def base_model(case):
    return load_model(GOLDENS / case["base"], DTYPES[case["dtype"]])[0]


def write_adapter(case, folder, seed):
    """A trained-looking adapter: B is not zero, and what is saved whole differs from the base."""
    model = get_peft_model(base_model(case), LoraConfig(**case["lora"]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(parameter + 0.1 * noise if "lora_" not in name else 0.3 * noise)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"../../{case['base']}"
    config["target_modules"] = config["target_modules"] if isinstance(config["target_modules"], str) else sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    if "adapter_dtype" in case:
        file = folder / "adapter_model.safetensors"
        save_file({n: t.to(DTYPES[case["adapter_dtype"]]) for n, t in load_file(file).items()}, file, {"format": "pt"})


def make(case, number):
    folder = ROOT / case["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_adapter(case, folder, 7000 + number)
    merged = PeftModel.from_pretrained(base_model(case), folder).merge_and_unload()
    base = base_model(case).state_dict()
    state = {name: t.contiguous() for name, t in merged.state_dict().items()}
    assert state.keys() == base.keys(), state.keys() ^ base.keys()
    changed = {name: t for name, t in state.items() if not torch.equal(t, base[name])}
    save_file(changed, folder / "merged.safetensors", {"format": "pt"})
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(GOLDENS / case["base"] / "config.json", scratch)
        save_file(state, Path(scratch) / "model.safetensors", {"format": "pt"})
        inputs = {"seed": 50 + number, "rows": [{"images": 1, "text": 7}]}
        tensors, metadata, report = make_golden(scratch, lambda m: build_inputs(m, inputs), new_tokens=8, case=inputs,
                                                note=f"merged by peft {peft.__version__}", log=lambda line: None)  # fmt: skip
    write_golden(tensors, folder / "golden.safetensors", metadata, False)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{case['name']}: {len(changed)} tensors changed, {size:,} bytes, float32 error {max(report.values()):.1e}, "
          f"gap {metadata['generate_min_gap']}", flush=True)  # fmt: skip


def main():
    torch.set_num_threads(1)
    for number, case in enumerate(CASES):
        if not sys.argv[1:] or case["name"] in sys.argv[1:]:
            make(case, number)
    listed = [{key: case[key] for key in ("name", "base", "dtype", "covers")} for case in CASES]
    document = {"peft": peft.__version__, "torch": torch.__version__.split("+")[0], "cases": listed}
    (ROOT / "cases.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
