"""The reference in float64 throughout.

`.double()` alone leaves four places in float32: RMSNorm, the softmax of both attentions, cos and sin, and the loss; and rows
that are masked everywhere turn NaN when float64's lowest value is cast down. `float64_reference` replaces those four while it
is active. Two things stay as the float32 run has them, because they define the model and are not errors of it: the rotary
angles (a float32 product) and the vision position ids (passed in as recorded).
"""

from contextlib import contextmanager

import torch
from torch import nn
from transformers.models.idefics3 import modeling_idefics3
from transformers.models.llama import modeling_llama
from transformers.models.smolvlm import modeling_smolvlm

POSITION_EMBEDDING = "model.vision_model.embeddings.position_embedding"


def _rms_norm(self, hidden_states):
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def _rotary(self, x, position_ids):
    angles = position_ids[:, :, None].float() * self.inv_freq.float()[None, None, :]
    angles = torch.cat((angles, angles), dim=-1).double()
    return angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling


def _attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    weights = torch.softmax(scores, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _loss(logits, labels, vocab_size, **kwargs):
    shifted = nn.functional.pad(labels, (0, 1), value=-100)[..., 1:].reshape(-1)
    return nn.functional.cross_entropy(logits.reshape(-1, vocab_size), shifted, ignore_index=-100)


@contextmanager
def float64_reference(model, position_ids=None):
    """Turns `model` to float64 for good; within the context its forward computes nothing in a lower precision.

    position_ids: the input of the vision position embedding as the float32 run had it, or None where no picture was seen.
    """
    model.double()
    patches = [
        (modeling_llama.LlamaRMSNorm, "forward", _rms_norm),
        (modeling_llama.LlamaRotaryEmbedding, "forward", torch.no_grad()(_rotary)),
        (modeling_llama, "eager_attention_forward", _attention),
        (modeling_smolvlm, "eager_attention_forward", _attention),
        (modeling_idefics3, "eager_attention_forward", _attention),
    ]
    saved = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    model.loss_function = _loss
    handle = None
    if position_ids is not None:
        embedding = model.get_submodule(POSITION_EMBEDDING)
        handle = embedding.register_forward_pre_hook(lambda module, args: (position_ids,))
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield model
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)
        if handle is not None:
            handle.remove()
