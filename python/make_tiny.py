"""Makes the tiny random checkpoints of tiny_cases.py and their goldens under test/goldens/<name>/.

Usage:
    python python/make_tiny.py [NAME ...]      all cases, or those named; always rewrites test/goldens/cases.json

Each folder is a plain Hugging Face checkpoint (config.json, generation_config.json, model.safetensors or shards with their
index) plus golden.safetensors; a real-width one holds counter.json in place of weights. Weights are normal with standard
deviation 1/sqrt(fan_in), norm weights near 1, lm_head four times larger so that logits are well separated. A weight seed is
taken only if the greedy run's smallest float64 gap is at least 0.01 with at least 4 distinct tokens, and PyTorch's own float32
holds NMSE 1e-12 everywhere (the half-precision goldens: a quarter of their bound, against a float32 run at the same positions).
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig

from float64_twin import POSITION_EMBEDDING
from golden_file import write_golden
from golden_inputs import build_inputs
from make_golden import CLASSES, compared, forward_with_taps, load_model, make_golden, nmse
from tiny_cases import CASES

ROOT = Path(__file__).resolve().parent.parent / "test" / "goldens"
TORCH_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
HALF_BOUND = {"bfloat16": 1e-3, "float16": 1e-5}
MIN_GAP, MIN_DISTINCT, MAX_NMSE, MAX_SEEDS = 0.01, 4, 1e-12, 60


def config_of(case):
    stored = case.get("counter", {}).get("dtype") or case.get("dtype", "F32")
    return {
        "architectures": [CLASSES[case.get("model_type", "smolvlm")].__name__],
        "model_type": case.get("model_type", "smolvlm"),
        "image_token_id": case["text"]["vocab_size"] - 3,
        "pad_token_id": 2,
        "scale_factor": case["scale_factor"],
        "tie_word_embeddings": case.get("top_level_tie", case["text"]["tie_word_embeddings"]),
        "torch_dtype": str(TORCH_DTYPES[stored]).removeprefix("torch."),
        "transformers_version": "4.56.2",
        "use_cache": True,
        "text_config": {"model_type": "llama", **case["text"]},
        "vision_config": {"model_type": case.get("model_type", "smolvlm") + "_vision", **case["vision"]},
    }


def random_weights(model, seed, outliers):
    """A state dict with the sizes a trained model's activations have; tied weights once, small, so as not to repeat a token."""
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, parameter in model.named_parameters():
        shape = parameter.shape
        noise = torch.randn(shape, generator=generator)
        if name.endswith(".bias"):
            out[name] = 0.1 * noise
        elif len(shape) == 1:
            out[name] = torch.exp(0.7 * noise).clamp(0.05, 8) if outliers else 1 + 0.1 * noise
            if outliers:
                out[name][3] = 0.05  # trained norms hold such channels down
        elif name.endswith(("embed_tokens.weight", "position_embedding.weight")):
            out[name] = (0.25 if tied else 0.7) * noise
            if outliers:
                out[name][:, 3] += 12.0
        else:
            gain = 4.0 if name == "lm_head.weight" else 3.0 if tied and name.endswith("down_proj.weight") else 1.0
            out[name] = noise * gain / math.sqrt(math.prod(shape[1:]))
            if outliers and name.endswith(("down_proj.weight", "fc2.weight")):
                out[name][5] *= 12
    return out


def save_checkpoint(weights, folder, dtype, shards):
    tensors = {name: t.to(TORCH_DTYPES[dtype]).contiguous() for name, t in weights.items()}
    if shards == 1:
        return save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    names, index = list(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
        index |= {name: file for name in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    document = {"metadata": {"total_size": size}, "weight_map": dict(sorted(index.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document, indent=1) + "\n")


def half_error(folder, case, tensors):
    """Worst NMSE of a half-precision golden against float32 at the same vision position ids."""
    half, _ = load_model(folder, getattr(torch, case["torch_dtype"]))
    _, position_ids = forward_with_taps(half, build_inputs(half, case["case"]))
    model, _ = load_model(folder, torch.float32)
    model.get_submodule(POSITION_EMBEDDING).register_forward_pre_hook(lambda module, args: (position_ids,))
    inputs = build_inputs(model, case["case"])
    taps, _ = forward_with_taps(model, inputs)
    mask = inputs.get("attention_mask")
    return max(nmse(compared(n, tensors[n], mask), compared(n, taps[n], mask)) for n in taps)


def good(case, folder, tensors, metadata, report):
    """Whether this seed's golden is one to keep; a line saying why not otherwise."""
    if "torch_dtype" in case:
        worst, bound = half_error(folder, case, tensors), HALF_BOUND[case["torch_dtype"]] / 4
        return None if worst <= bound else f"half precision's own error {worst:.1e}"
    if max(report.values()) > MAX_NMSE:
        return f"float32's own error {max(report.values()):.1e}"
    if "generate.sequences" in tensors:
        if float(metadata["generate_min_gap"]) < MIN_GAP:
            return f"gap {metadata['generate_min_gap']}"
        steps = len(json.loads(metadata["generate_gaps"])[0])
        if any(len(set(row[-steps:])) < MIN_DISTINCT for row in tensors["generate.sequences"].tolist()):
            return "too few distinct tokens"
    return None


def make(case, number):
    folder = ROOT / case["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_of(case), indent=2) + "\n")
    ids = {"bos_token_id": 1, "eos_token_id": [0, 3], "pad_token_id": 2, "transformers_version": "4.56.2"}
    (folder / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n")
    config = AutoConfig.from_pretrained(folder)
    for attempt in range(MAX_SEEDS):
        if "counter" in case:
            marker = {"counter_weights": True, **case["counter"], "seed": case["counter"]["seed"] + 100 * attempt}
            (folder / "counter.json").write_text(json.dumps(marker) + "\n")
        else:
            model = CLASSES[config.model_type](config)
            weights = random_weights(model, 1000 * number + attempt, case.get("outliers"))
            save_checkpoint(weights, folder, case.get("dtype", "F32"), case.get("shards", 1))
        inputs = {"seed": number, **case["case"]}
        case = {**case, "case": inputs}
        dtype = getattr(torch, case.get("torch_dtype", "float32"))
        tensors, metadata, report = make_golden(
            folder, lambda m: build_inputs(m, inputs), dtype, inputs.get("new_tokens", 12), True, case.get("note", ""), inputs,
            log=lambda line: None,
        )  # fmt: skip
        reason = good(case, folder, tensors, metadata, report)
        if reason is None:
            break
    else:
        sys.exit(f"{case['name']}: no seed of {MAX_SEEDS} is good, last: {reason}")
    write_golden(tensors, folder / "golden.safetensors", metadata, inputs.get("unaligned", False))
    size = sum(f.stat().st_size for f in folder.iterdir())
    tail = tensors["generate.sequences"][:, -12:].tolist() if "generate.sequences" in tensors else "no greedy run"
    worst = max(report.values()) if report else float("nan")
    print(f"{case['name']}: seed {attempt}, {len(tensors)} tensors, {size:,} bytes, float32 error {worst:.1e}, {tail}", flush=True)


def write_index():
    listed = []
    for case in CASES:
        if not (ROOT / case["name"] / "golden.safetensors").exists():
            continue
        entry = {"name": case["name"], "golden": "golden.safetensors", "dtype": case.get("torch_dtype", "float32")}
        entry["counter_weights"] = "counter" in case
        entry["float64"] = "torch_dtype" not in case
        entry["greedy"] = case["case"].get("new_tokens", 12) > 0 and case["case"].get("inputs_embeds") != "alone"
        entry["covers"] = case["covers"]
        listed.append(entry)
    (ROOT / "cases.json").write_text(json.dumps({"cases": listed}, indent=2) + "\n")


def main():
    torch.set_num_threads(1)
    names = [case["name"] for case in CASES]
    unknown = set(sys.argv[1:]) - set(names)
    if unknown:
        sys.exit(f"no such case: {sorted(unknown)}; there are {names}")
    for number, case in enumerate(CASES, 1):
        if not sys.argv[1:] or case["name"] in sys.argv[1:]:
            make(case, number)
    write_index()
    total = sum(f.stat().st_size for f in ROOT.rglob("*") if f.is_file())
    print(f"{ROOT.name}: {total:,} bytes in all")


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    main()
