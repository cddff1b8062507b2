"""Writes state-dict.json: the names and shapes of the reference's state dicts, for manifest.test.ts.

Needs torch and transformers 4.56.2. Usage: python test/checkpoint/make_state_dict.py
"""

import json
from pathlib import Path

import transformers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

VISION = dict(hidden_size=20, intermediate_size=28, num_hidden_layers=3, num_attention_heads=2, num_channels=2)
VISION.update(image_size=30, patch_size=4)
TEXT = dict(hidden_size=12, intermediate_size=44, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2)
TEXT.update(head_dim=10, vocab_size=50, pad_token_id=2)

CASES = [
    ("smolvlm", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=False), 2),
    ("smolvlm", dict(attention_bias=False, mlp_bias=True, tie_word_embeddings=True), 3),
    ("idefics3", dict(attention_bias=True, mlp_bias=False, tie_word_embeddings=False), 1),
    ("idefics3", dict(attention_bias=False, mlp_bias=False, tie_word_embeddings=True), 4),
]


def state_dict(model_type, options, scale_factor):
    config_class, model_class = {
        "smolvlm": (SmolVLMConfig, SmolVLMForConditionalGeneration),
        "idefics3": (Idefics3Config, Idefics3ForConditionalGeneration),
    }[model_type]
    text = {**TEXT, **options}
    model = model_class(config_class(vision_config=dict(VISION), text_config=dict(text), scale_factor=scale_factor))
    tied = model.lm_head.weight is model.model.text_model.embed_tokens.weight
    tensors = {
        name: list(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")  # save_pretrained leaves it out too
    }
    config = dict(model_type=model_type, scale_factor=scale_factor, vision_config=VISION, text_config=text)
    return dict(config=config, tensors=tensors)


out = dict(transformers=transformers.__version__, cases=[state_dict(*case) for case in CASES])
Path(__file__).with_name("state-dict.json").write_text(json.dumps(out) + "\n")
