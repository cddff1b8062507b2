"""The calls of make_surface_golden.py: each argument of the model page, on each of the reference's three classes."""

import copy
from pathlib import Path

import torch
from torch import nn
from transformers import SmolVLMForConditionalGeneration

from float64_twin import POSITION_EMBEDDING
from golden_inputs import build_inputs

ROOT = Path(__file__).resolve().parent.parent / "test" / "goldens"
EVERYTHING = {"output_hidden_states": True, "output_attentions": True}


def load(checkpoint, dtype=torch.float32):
    return SmolVLMForConditionalGeneration.from_pretrained(ROOT / checkpoint, attn_implementation="eager", dtype=dtype).eval()


def level_of(model, level):
    return {"vision": model.model.vision_model, "base": model.model, "causal": model}[level]


def flatten(output):
    """A ModelOutput's tensors by name."""
    out = {}
    for name, value in output.items():
        if name == "past_key_values":
            for i, layer in enumerate(value.layers):
                out[f"{name}.{i}.keys"], out[f"{name}.{i}.values"] = layer.keys, layer.values
        elif isinstance(value, (tuple, list)):
            out |= {f"{name}.{i}": tensor for i, tensor in enumerate(value)}
        else:
            out[name] = value.reshape(1) if value.ndim == 0 else value
    return {name: tensor.detach().clone().contiguous() for name, tensor in out.items()}


class Run:
    """Runs the calls of one checkpoint, in float32 or, with the position ids that run saw, in float64."""

    def __init__(self, checkpoint, model, position_ids=None):
        self.checkpoint, self.model = checkpoint, model
        self.tensors, self.calls, self.caches = {}, [], {}
        self.replayed = position_ids is not None
        self.position_ids = list(position_ids or [])
        embedding = model.get_submodule(POSITION_EMBEDDING)
        embedding.register_forward_pre_hook(self._see_positions)

    def _see_positions(self, module, args):
        if self.replayed:
            return (self.position_ids.pop(0),)
        self.position_ids.append(args[0].clone())

    def call(self, name, level, inputs, arguments=None, past=None, crop=None):
        arguments = arguments or {}
        dtype = next(self.model.parameters()).dtype
        given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        cache = copy.deepcopy(self.caches[past]) if past else None
        if crop is not None:
            cache.crop(crop)
        module = level_of(self.model, level)
        with torch.no_grad():
            output = module(**given, **arguments, **({"past_key_values": cache} if past else {}))
        names = list(output.keys())
        again = copy.deepcopy(self.caches[past]) if past else None
        if crop is not None:
            again.crop(crop)
        with torch.no_grad():
            plain = module(**given, **arguments, return_dict=False, **({"past_key_values": again} if past else {}))
        assert isinstance(plain, tuple) and len(plain) == len(names), (name, len(plain), names)
        if output.get("past_key_values") is not None:
            self.caches[name] = output.past_key_values
        for key, tensor in inputs.items():
            self.tensors[f"{name}.inputs.{key}"] = tensor.contiguous()
        for key, tensor in flatten(output).items():
            assert torch.isfinite(tensor).all(), (name, key)
            self.tensors[f"{name}.outputs.{key}"] = tensor
        self.calls.append(
            {"name": name, "checkpoint": self.checkpoint, "level": level, "arguments": arguments, "past": past, "crop": crop,
             "inputs": list(inputs), "tuple": names}
        )  # fmt: skip
        return output


def vision_calls(run, generator):
    pixels = torch.randn((3, 3, 16, 16), generator=generator)
    run.call("vision.plain", "vision", {"pixel_values": pixels})
    run.call("vision.everything", "vision", {"pixel_values": pixels}, EVERYTHING)
    mask = torch.zeros((3, 4, 4), dtype=torch.bool)
    mask[0, :3, :2] = True
    mask[2] = True
    run.call("vision.masked", "vision", {"pixel_values": pixels, "patch_attention_mask": mask}, EVERYTHING)
    zero = torch.cat([pixels[:1, :, :12, :8], torch.zeros((1, 3, 12, 8))])
    run.call("vision.small-and-zero", "vision", {"pixel_values": zero}, {"output_hidden_states": True})


def base_calls(run, generator):
    """One picture among text, in one pass, and in parts over a cache."""
    inputs = build_inputs(run.model, {"seed": 5, "rows": [{"images": 1, "text": 9}]})
    ids, pixels = inputs["input_ids"], inputs["pixel_values"]
    length = ids.shape[1]
    run.call("base.everything", "base", inputs, EVERYTHING)
    run.call("base.no-cache", "base", inputs, {"use_cache": False})
    cut = length - 3
    first = {"input_ids": ids[:, :cut], "pixel_values": pixels}
    run.call("base.first", "base", first, {"use_cache": True})
    rest = {"input_ids": ids[:, cut:], "cache_position": torch.arange(cut, length)}
    run.call("base.second", "base", rest, EVERYTHING, past="base.first")
    run.call("base.past-without-use", "base", {"input_ids": ids[:, cut:]}, {"use_cache": False}, past="base.first")
    run.call("base.cropped", "base", {"input_ids": ids[:, cut - 2 : cut]}, {}, past="base.first", crop=cut - 2)
    run.call("base.cropped-from-end", "base", {"input_ids": ids[:, cut - 1 :]}, {}, past="base.second", crop=-4)
    run.call("base.earlier-positions", "base", {"input_ids": ids[:, -2:], "cache_position": torch.tensor([3, 6])}, EVERYTHING, past="base.first")  # fmt: skip
    run.call("base.later-positions", "base", {"input_ids": ids[:, -2:], "cache_position": torch.tensor([20, 30])}, EVERYTHING, past="base.first")  # fmt: skip
    text = ids[:, -6:]
    odd = torch.tensor([2, 0, 1, 3, 9, 4])
    run.call("base.odd-positions", "base", {"input_ids": text, "cache_position": odd}, EVERYTHING)
    ids_only = {"input_ids": text, "cache_position": odd, "position_ids": torch.arange(4, 10)[None]}
    run.call("base.odd-positions-and-ids", "base", ids_only, {"output_attentions": True})
    embeds = torch.randn((2, 5, run.model.config.text_config.hidden_size), generator=generator)
    run.call("base.embeds", "base", {"inputs_embeds": embeds}, EVERYTHING)
    run.call("base.embeds-continued", "base", {"inputs_embeds": embeds[:, :2]}, EVERYTHING, past="base.embeds")
    states = torch.randn((2, 4, run.model.config.text_config.hidden_size), generator=generator)
    run.call("base.image-states-surplus", "base", {"input_ids": ids, "image_hidden_states": states})
    run.call("base.pictures-surplus", "base", {"input_ids": ids, "pixel_values": torch.cat([pixels, pixels.flip(3)], dim=1)})


def padded_calls(run):
    """Rows with 0 to 3 pictures, left-padded, then two more columns over the cache; one column masked in the middle."""
    case = {"seed": 3, "rows": [{"images": n, "text": 6} for n in range(4)]}
    inputs = build_inputs(run.model, case)
    run.call("padded.first", "base", inputs, EVERYTHING)
    mask = inputs["attention_mask"]
    more = torch.tensor([[5, 6], [7, 8], [9, 10], [11, 12]])
    following = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1]])
    second = {"input_ids": more, "attention_mask": torch.cat([mask, following], dim=1)}
    run.call("padded.second", "base", second, EVERYTHING, past="padded.first")
    last = torch.ones((4, 1), dtype=mask.dtype)
    third = {"input_ids": more[:, :1], "attention_mask": torch.cat([second["attention_mask"], last], dim=1)}
    run.call("padded.third", "causal", third, EVERYTHING, past="padded.second")


def masked_picture_calls(run):
    """Pictures that fill a part of their tile, with every mask and the positions given."""
    content = [[16, 9], [7, 16], [4, 4]]
    inputs = build_inputs(run.model, {"seed": 6, "rows": [{"images": 1, "text": 6}, {"images": 2, "text": 5}], "content": content, "position_ids": "mask"})  # fmt: skip
    assert {"pixel_attention_mask", "attention_mask", "position_ids"} <= inputs.keys()
    run.call("masked-pictures.base", "base", inputs, EVERYTHING)
    run.call("masked-pictures.causal", "causal", {**inputs, "logits_to_keep": torch.tensor([0, -1])}, {"use_cache": False})


def causal_calls(run):
    inputs = build_inputs(run.model, {"seed": 8, "rows": [{"images": 1, "text": 9}, {"images": 1, "text": 9}]})
    ids = inputs["input_ids"]
    image = run.model.config.image_token_id
    run.call("causal.everything", "causal", {**inputs, "labels": ids}, EVERYTHING)
    run.call("causal.labels-without-images", "causal", {**inputs, "labels": ids.masked_fill(ids == image, -100)})
    run.call("causal.keep-indices", "causal", {**inputs, "logits_to_keep": torch.tensor([2, -1, 0, 2])})
    run.call("causal.keep-two", "causal", inputs, {"logits_to_keep": 2})
    run.call("causal.keep-more-than-there-are", "causal", inputs, {"logits_to_keep": 999})
    run.call("causal.keep-minus-four", "causal", inputs, {"logits_to_keep": -4})
    run.call("causal.keep-with-labels", "causal", {**inputs, "labels": ids[:, -5:]}, {"logits_to_keep": 5, "use_cache": False})
    run.call("causal.first", "causal", {"input_ids": ids[:, :-2], "pixel_values": inputs["pixel_values"]}, {"logits_to_keep": 1})
    run.call("causal.second", "causal", {"input_ids": ids[:, -2:]}, {"logits_to_keep": 1}, past="causal.first")


def embedding_calls(run, name, change):
    """A forward after a change of the token embedding, with the weights that it left."""
    inputs = build_inputs(run.model, {"seed": 4, "rows": [{"text": 7}]})
    torch.manual_seed(7)
    with torch.no_grad():
        change(run.model)
    run.call(name, "causal", inputs)
    run.tensors[f"{name}.outputs.embed_tokens"] = run.model.get_input_embeddings().weight.detach().clone()
    run.tensors[f"{name}.outputs.lm_head"] = run.model.lm_head.weight.detach().clone()


def with_embeddings(model):
    """Sets the token embedding to values that everybody can make."""
    rows, width = model.get_input_embeddings().weight.shape
    fresh = nn.Embedding(rows, width)
    fresh.weight.data = (torch.arange(rows * width, dtype=torch.float64).reshape(rows, width) % 97 / 64 - 0.75).to(
        model.lm_head.weight.dtype
    )
    model.set_input_embeddings(fresh)


SCENARIOS = [
    ("one-image", lambda run: vision_calls(run, torch.Generator().manual_seed(1))),
    ("one-image", lambda run: base_calls(run, torch.Generator().manual_seed(2))),
    ("batch-0123-images", padded_calls),
    ("batch-0123-images", masked_picture_calls),
    ("one-image", causal_calls),
    ("one-image", lambda run: embedding_calls(run, "embeddings.grown", lambda m: m.resize_token_embeddings(137))),
    ("one-image", lambda run: embedding_calls(run, "embeddings.grown-to-multiple", lambda m: m.resize_token_embeddings(pad_to_multiple_of=16))),
    ("one-image", lambda run: embedding_calls(run, "embeddings.shrunk", lambda m: m.resize_token_embeddings(130))),
    ("one-image", lambda run: embedding_calls(run, "embeddings.set", with_embeddings)),
]  # fmt: skip
