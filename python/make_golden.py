"""Writes a golden file (`smolvlm-golden/1`): every module's output of one reference forward, its float64 twin, a greedy run.

Usage:
    python python/make_golden.py CHECKPOINT_DIR OUT.safetensors --case CASE.json     (or the JSON itself; see golden_inputs.py)
    python python/make_golden.py CHECKPOINT_DIR OUT.safetensors --image A.png --prompt "What is this?"
    options: --dtype float32|bfloat16|float16   --new-tokens N   --no-float64   --note TEXT   --threads N

CHECKPOINT_DIR is a plain Hugging Face folder (config.json + safetensors) or a config with a `counter.json` (see counter.py).
Weights stored in F16 or BF16 are loaded as float32, which is exact. With --dtype bfloat16 or float16 torch itself runs in half
precision; such a golden has neither float64 entries nor, unless --new-tokens asks, a greedy run.

What is in the file: `inputs.<name>`; `modules.<path>` for every module that is called, at its first call (a tuple's element 0,
a ModelOutput's last_hidden_state, `rotary_emb.0` and `.1`); `outputs.*`; `f64.<name>` of all those but inputs;
`generate.sequences`. Metadata beyond the format's: `class`, `case`, `note`, `generate_gaps` (JSON [rows][steps], the float64 gap
between the two best logits along the sequence) and `generate_min_gap`. Greedy decoding ignores every eos, takes the lowest id of
a tie, and derives position ids from the attention mask.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
import transformers
from torch import nn
from transformers import AutoConfig, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.activations import ACT2FN
from transformers.models.idefics3.modeling_idefics3 import Idefics3ForConditionalGeneration
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

import counter
from float64_twin import POSITION_EMBEDDING, float64_reference
from golden_file import write_golden
from golden_inputs import build_inputs, picture_inputs

TRANSFORMERS = "4.56.2"
CLASSES = {"smolvlm": SmolVLMForConditionalGeneration, "idefics3": Idefics3ForConditionalGeneration}

# The vision config's documentation lists selu, transformers' own table lacks it: without this line it is a KeyError.
if "selu" not in ACT2FN:
    ACT2FN["selu"] = nn.SELU


class GoldenError(Exception):
    """The checkpoint or the run cannot give a golden that could be compared."""


def load_model(folder, dtype):
    """The reference model in `dtype`, eager attention, every weight accounted for; and whether its weights are counted."""
    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in CLASSES:
        raise GoldenError(f"{folder}/config.json: model_type must be one of {list(CLASSES)}, got {config.model_type!r}")
    cls = CLASSES[config.model_type]
    marker = Path(folder, "counter.json")
    if marker.exists():
        options = json.loads(marker.read_text())
        model = cls._from_config(config, attn_implementation="eager", dtype=dtype)
        for parameter in model.parameters():  # a sub-config's own torch_dtype wins there; buffers (inv_freq) stay as they are
            parameter.data = parameter.data.to(dtype)
        counter.fill(model, options["dtype"], options.get("seed", 0))
        return model.eval(), True
    model, info = cls.from_pretrained(folder, attn_implementation="eager", dtype=dtype, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise GoldenError(f"{folder}: {problem} {sorted(map(str, info[problem]))[:8]}")
    other = {str(p.dtype) for p in model.parameters()} - {str(dtype)}
    if other:
        raise GoldenError(f"{folder}: parameters were loaded as {sorted(other)}, expected {dtype}")
    return model.eval(), False


def tap(output):
    """What a hooked module's output is saved as."""
    if isinstance(output, torch.Tensor):
        return output
    if hasattr(output, "last_hidden_state"):
        return output.last_hidden_state
    return output[0]


def forward_with_taps(model, inputs):
    """One forward with a hook on every module: {name: tensor} for `modules.*` and `outputs.*`, and the vision position ids."""
    tensors, recorded, handles = {}, {}, []

    def hook(path):
        def save(module, args, output):
            if path == POSITION_EMBEDDING:
                recorded.setdefault("position_ids", args[0].clone())
            if path.endswith("rotary_emb"):
                for i in (0, 1):
                    tensors.setdefault(f"modules.{path}.{i}", output[i].detach().clone())
            else:
                tensors.setdefault(f"modules.{path}", tap(output).detach().clone())

        return save

    for path, module in model.named_modules():
        if path:
            handles.append(module.register_forward_hook(hook(path)))
    try:
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True, output_attentions=True)
    finally:
        for handle in handles:
            handle.remove()
    tensors["outputs.logits"] = out.logits
    if out.loss is not None:
        tensors["outputs.loss"] = out.loss.reshape(1)
    if out.image_hidden_states is not None:
        tensors["outputs.image_hidden_states"] = out.image_hidden_states
    for i, states in enumerate(out.hidden_states):
        tensors[f"outputs.hidden_states.{i}"] = states
    for i, weights in enumerate(out.attentions):
        tensors[f"outputs.attentions.{i}"] = weights
    return {name: t.detach().clone() for name, t in tensors.items()}, recorded.get("position_ids")


def call_inputs(inputs, dtype):
    """Inputs as the model is called: embeddings in its dtype, logits_to_keep as an int where it is one."""
    out = dict(inputs)
    if "inputs_embeds" in out:
        out["inputs_embeds"] = out["inputs_embeds"].to(dtype)
    if "logits_to_keep" in out and out["logits_to_keep"].ndim == 0:
        out["logits_to_keep"] = int(out["logits_to_keep"])
    return out


class Forced(LogitsProcessor):
    """Makes greedy decoding follow given sequences, so that float64 logits can be read along them."""

    def __init__(self, sequences):
        self.sequences = sequences

    def __call__(self, input_ids, scores):
        forced = torch.full_like(scores, -1.0)
        return forced.scatter_(1, self.sequences[:, input_ids.shape[1]][:, None], 1.0)


def greedy(model, inputs, new_tokens, forced=None):
    """The prompt with `new_tokens` greedy tokens, and the last position's logits of each step [B, steps, V]."""
    names = ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask", "image_hidden_states", "inputs_embeds")
    kwargs = {name: inputs[name] for name in names if name in inputs}
    pad = model.config.text_config.pad_token_id
    model.generation_config = GenerationConfig(pad_token_id=pad if pad is not None else 0)
    steps = []
    handle = model.lm_head.register_forward_hook(lambda module, args, out: steps.append(out[:, -1].detach().clone()))
    try:
        with torch.no_grad():
            sequences = model.generate(
                **kwargs,
                do_sample=False,
                max_new_tokens=new_tokens,
                logits_processor=LogitsProcessorList([Forced(forced)] if forced is not None else []),
            )
    finally:
        handle.remove()
    return sequences, torch.stack(steps, dim=1)


def compared(name, tensor, mask):
    """The part of a tensor that a verdict looks at: text positions that are not masked as query rows."""
    if mask is None or name.endswith("outputs.loss"):
        return tensor
    batch, length = mask.shape
    keep = mask.bool()
    if ".vision_model" in name or ".connector" in name or ".rotary_emb" in name or "image_hidden_states" in name:
        return tensor
    if ".attentions." in name and tensor.shape[2] == length:
        return tensor.transpose(1, 2)[keep]
    if tensor.ndim >= 2 and tuple(tensor.shape[:2]) == (batch, length):
        return tensor[keep]
    return tensor


def check_finite(tensors, mask):
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(compared(name, tensor, mask)).all():
            raise GoldenError(f"{name}: non-finite values at compared positions")


def nmse(a, b):
    """Σ(a-b)²/Σb² in float64; 0 where both are all zero."""
    a, b = a.double(), b.double()
    below = float((b * b).sum())
    above = float(((a - b) ** 2).sum())
    return above / below if below else (0.0 if above == 0 else math.inf)


def make_golden(folder, inputs_of, dtype=torch.float32, new_tokens=12, float64=True, note="", case=None, log=print):
    """All tensors and the metadata of a golden. `inputs_of(model)` gives the forward's keyword arguments.

    Raises GoldenError for weights that do not fit the config and for non-finite values where a verdict would look.
    """
    if transformers.__version__ != TRANSFORMERS:
        raise GoldenError(f"goldens are made with transformers {TRANSFORMERS}, got {transformers.__version__}")
    model, _ = load_model(folder, dtype)
    inputs = inputs_of(model)
    mask = inputs.get("attention_mask")
    tensors, position_ids = forward_with_taps(model, call_inputs(inputs, dtype))
    check_finite(tensors, mask)
    sequences = None
    if new_tokens and "input_ids" in inputs:
        sequences, _ = greedy(model, call_inputs(inputs, dtype), new_tokens)
    metadata = {
        "format": "smolvlm-golden/1",
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "dtype": str(dtype).removeprefix("torch."),
        "attn": "eager",
        "class": type(model).__name__,
    }
    if note:
        metadata["note"] = note
    if case:
        metadata["case"] = json.dumps(case)
    out = {f"inputs.{name}": t for name, t in inputs.items()} | tensors
    report = {}
    if dtype == torch.float32 and float64:
        with float64_reference(model, position_ids):
            twin, _ = forward_with_taps(model, call_inputs(inputs, torch.float64))
            check_finite(twin, mask)
            low = [name for name, t in twin.items() if t.is_floating_point() and t.dtype != torch.float64]
            if low or twin.keys() != tensors.keys():
                raise GoldenError(f"the float64 run is not float64 throughout: {low or twin.keys() ^ tensors.keys()}")
            report = {n: nmse(compared(n, tensors[n], mask), compared(n, twin[n], mask)) for n in twin}
            if sequences is not None:
                _, logits = greedy(model, call_inputs(inputs, torch.float64), new_tokens, sequences)
                best = logits.topk(2, dim=-1).values
                gaps = best[..., 0] - best[..., 1]
                chosen = sequences[:, -new_tokens:]
                gaps = torch.where(logits.argmax(-1) == chosen, gaps, torch.zeros_like(gaps))
                metadata["generate_gaps"] = json.dumps([[float(f"{g:.6g}") for g in row] for row in gaps.tolist()])
                metadata["generate_min_gap"] = f"{float(gaps.min()):.6g}"
        out |= {f"f64.{name}": t for name, t in twin.items()}
        worst = max(report, key=report.get)
        log(f"float32 against float64: worst NMSE {report[worst]:.2e} at {worst}")
        if report[worst] > 1e-10:
            log("  warning: PyTorch's own float32 does not hold the verdict's bound there")
    if sequences is not None:
        out["generate.sequences"] = sequences
        log(f"greedy: {sequences[:, -new_tokens:].tolist()}, smallest float64 gap {metadata.get('generate_min_gap')}")
    return {name: t.contiguous() for name, t in out.items()}, metadata, report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--case", help="a JSON file or the JSON itself; golden_inputs.py describes it")
    parser.add_argument("--image", action="append", default=[], help="a picture file; may be given several times")
    parser.add_argument("--prompt", help="with the folder's processor; without --image a text-only turn")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--new-tokens", type=int, help="default: the case's, else 12; 0 in half precision")
    parser.add_argument("--no-float64", action="store_true")
    parser.add_argument("--note", default="")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if (args.case is None) == (args.prompt is None):
        parser.error("give either --case or --prompt (with --image)")
    case = None
    if args.case is not None:
        case = json.loads(args.case if args.case.lstrip().startswith("{") else Path(args.case).read_text())
    new_tokens = args.new_tokens
    if new_tokens is None:
        new_tokens = (case or {}).get("new_tokens", 12) if args.dtype == "float32" else 0
    inputs_of = (lambda model: build_inputs(model, case)) if case else (
        lambda model: picture_inputs(args.checkpoint, args.image, args.prompt)
    )  # fmt: skip
    try:
        tensors, metadata, _ = make_golden(
            args.checkpoint, inputs_of, getattr(torch, args.dtype), new_tokens, not args.no_float64, args.note, case
        )
    except GoldenError as error:
        sys.exit(f"make_golden: {error}")
    write_golden(tensors, args.out, metadata, bool(case and case.get("unaligned")))
    print(f"{args.out}: {len(tensors)} tensors, {os.path.getsize(args.out):,} bytes")


if __name__ == "__main__":
    main()
