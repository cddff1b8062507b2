"""The demo model's configuration, its packed training pass, and the Muon optimizer.

The modules are those of transformers' SmolVLMForConditionalGeneration, so the trained state dict is a SmolVLM's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .scenes import COLOURS, GROUNDS, PATTERNS, SHAPES

TILE, PATCH, SCALE = 64, 8, 2
SIDE = TILE // PATCH
IMAGE_TOKENS = (SIDE // SCALE) ** 2
# The position grid has 9 places a side for the tile's 8 patches: then the reference's fractional coordinates give every
# patch row its own embedding in float32 and in half precision alike. With 8 places, float32 puts rows 0 and 1 together.
GRID = 9
CONTEXT = 512


def configuration(vocabulary: int, ids: dict[str, int]) -> SmolVLMConfig:
    return SmolVLMConfig(
        architectures=["SmolVLMForConditionalGeneration"],
        image_token_id=ids["<image>"],
        scale_factor=SCALE,
        tie_word_embeddings=False,
        use_cache=True,
        pad_token_id=ids["<|im_end|>"],
        torch_dtype="float32",
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_channels": 3,
            "image_size": GRID * PATCH,
            "patch_size": PATCH,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
            "attention_dropout": 0.0,
            "initializer_range": 0.05,
        },
        text_config={
            "model_type": "llama",
            "architectures": ["VLlama3ForCausalLM"],
            "vocab_size": vocabulary,
            "hidden_size": 128,
            "intermediate_size": 320,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "hidden_act": "silu",
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "mlp_bias": False,
            "initializer_range": 0.05,
            "bos_token_id": ids["<|im_start|>"],
            "eos_token_id": ids["<end_of_utterance>"],
            "pad_token_id": ids["<|im_end|>"],
            "tie_word_embeddings": False,
            "use_cache": True,
            "pretraining_tp": 1,
        },
    )


# Decoder layers whose first heads are shown where to look (see Trainee.guidance): the weights of the last pass.
GUIDED_LAYERS: dict[int, torch.Tensor | None] = {1: None, 2: None}


def plain_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Attention as two batched products: under bfloat16 autocast on a CPU twice as fast as the fused kernel (measured)."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (key, value))
    weights = (query * scaling) @ key.transpose(-1, -2)
    if attention_mask is not None:
        boolean = attention_mask.dtype == torch.bool
        weights = weights.masked_fill(~attention_mask, -1e4) if boolean else weights + attention_mask
    with torch.autocast(weights.device.type, enabled=False):
        weights = weights.softmax(-1)
    if attention_mask is not None and getattr(module, "layer_idx", None) in GUIDED_LAYERS:
        GUIDED_LAYERS[module.layer_idx] = weights[:, :2]
    return (weights @ value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("plain", plain_attention)


class Trainee(nn.Module):
    """A SmolVLM with what only training needs: linear probes on the patches and on the whole picture."""

    def __init__(self, config: SmolVLMConfig):
        super().__init__()
        self.vlm = SmolVLMForConditionalGeneration._from_config(config, attn_implementation="plain")
        width = config.vision_config.hidden_size
        self.patch_probe = nn.Linear(width, len(SHAPES) + 1 + len(COLOURS) + 1 + 3)
        self.ground_probe = nn.Linear(width, len(PATTERNS) + 2 * (len(GROUNDS) + 1))
        rows = (torch.arange(SIDE) / SIDE * (1 - 1e-6) * GRID).long()  # see GRID; train_demo checks it
        self.register_buffer("places", (rows[:, None] * GRID + rows).flatten(), persistent=False)

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """[n, 3, TILE, TILE] in -1..1 -> last hidden state [n, SIDE * SIDE, width]; the reference's own layers."""
        vision = self.vlm.model.vision_model
        patches = vision.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        hidden = patches + vision.embeddings.position_embedding(self.places)
        return vision.post_layernorm(vision.encoder(inputs_embeds=hidden).last_hidden_state)

    def probe(self, seen: torch.Tensor, batch: dict) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """What shape and colour each patch shows, where its thing's centre is, and what the background is: (patch loss, ground loss, report)."""
        parts = [len(SHAPES) + 1, len(COLOURS) + 1, 1, 2]
        shape, colour, centre, way = self.patch_probe(seen).float().split(parts, -1)
        patches = batch["patches"]
        dense = F.cross_entropy(shape.flatten(0, 1), patches[..., 0].flatten()) + F.cross_entropy(
            colour.flatten(0, 1), patches[..., 1].flatten()
        )
        sizes = [len(PATTERNS), len(GROUNDS) + 1, len(GROUNDS) + 1]
        probes = self.ground_probe(seen.mean(1)).float().split(sizes, -1)
        ground = sum(F.cross_entropy(p, batch["ground"][:, i]) for i, p in enumerate(probes))
        there = patches[..., 0] > 0
        report = {
            "dense": dense.item(),
            "ground": ground.item(),
            "patch_shape": (shape.argmax(-1) == patches[..., 0])[there].float().mean().item(),
            "patch_colour": (colour.argmax(-1) == patches[..., 1])[there].float().mean().item(),
        }
        if "offsets" in batch:  # which patch a thing's centre is in, and how far it is from each patch of the thing
            offsets = batch["offsets"]
            found = F.binary_cross_entropy_with_logits(centre[..., 0], offsets[..., 0])
            dense = dense + 4 * found + 0.5 * F.smooth_l1_loss(way[there], offsets[..., 1:][there])
            report["centre"] = found.item()
        return dense, ground, report

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """
        Several questions a picture share its image tokens: segment ids keep them from seeing one another, but for those
        of a joined row, which are the turns of one conversation.
        """
        seen = self.see(batch["pixels"].float() / 127.5 - 1)
        ids, segments = batch["ids"], batch["segments"]
        model = self.vlm.model
        embeds = model.text_model.embed_tokens(ids)
        image = model.connector(seen).to(embeds.dtype)
        start = int(batch["image_start"])
        embeds = torch.cat([embeds[:, :start], image, embeds[:, start + IMAGE_TOKENS :]], 1)
        n, length = ids.shape
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        same = segments[:, :, None] == segments[:, None, :]
        visible = causal & (same | (segments[:, None, :] == 0) | batch["joined"][:, None, None])
        hidden = model.text_model(
            inputs_embeds=embeds, attention_mask=visible[:, None], position_ids=batch["positions"], use_cache=False
        ).last_hidden_state
        answers = batch["targets"] >= 0
        logits = self.vlm.lm_head(hidden[answers]).float()
        targets = batch["targets"][answers]
        language = F.cross_entropy(logits, targets)

        dense, ground, probed = self.probe(seen, batch)
        with torch.no_grad():
            right = logits.argmax(-1) == targets
            # An answer is exact when none of its tokens is wrong: what greedy decoding would give.
            number = (torch.arange(n, device=ids.device)[:, None] * 100 + segments)[answers]
            exact = torch.ones(n * 100, dtype=torch.bool, device=ids.device)
            exact[number[~right]] = False
            report = {
                "loss": language.item(),
                **probed,
                "token": right.float().mean().item(),
                "exact": exact[number.unique()].float().mean().item(),
            }
            self.exact = exact.view(n, 100)  # [picture, segment]
        guidance = self.guidance(batch, start)
        report["guidance"] = guidance.item()
        return language, dense + 0.5 * ground + guidance, report

    def guidance(self, batch: dict, start: int) -> torch.Tensor:
        """How little of one head's attention goes from a thing's name to the image tokens that show the thing,
        and from where the answer begins to the names in the question (the first head to the first, the second to the last).

        Without it the model spent most of its time on a plateau: it could list things but not look one up by its name.
        """
        losses = []
        for layer, weights in GUIDED_LAYERS.items():
            chosen = batch["focus"][:, 2] == layer
            row, position, _ = batch["focus"][chosen].unbind(1)
            to_image = weights[row, 0, position, start : start + IMAGE_TOKENS].float()
            losses.append(-((to_image * batch["cells"][chosen]).sum(-1) + 1e-4).log())
        row, position, head, name = batch["links"].unbind(1)
        linked = -(GUIDED_LAYERS[2][row, head, position, name].float() + 1e-4).log()
        return torch.cat(losses).mean() + 0.5 * linked.mean()


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps, for the hidden matrices; matrices of one shape go together."""

    def __init__(self, params, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                updates = []
                for p in params:
                    state = self.state[p]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(state["momentum"], group["momentum"]))
                x = torch.stack(updates).bfloat16()
                tall = shape[0] > shape[1]
                x = x.mT if tall else x
                x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                for _ in range(5):
                    a = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = x.mT if tall else x
                x = x.float()
                rate = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, x):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)
