"""Writes the weights of a run as a Hugging Face checkpoint folder, in F16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import SmolVLMForConditionalGeneration, __version__

from .model import CONTEXT, IMAGE_TOKENS, TILE, configuration
from .vocabulary import VOCABULARY, build_tokenizer, write_processor_files

VISION_FIELDS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels",
                 "image_size", "patch_size", "hidden_act", "layer_norm_eps", "attention_dropout", "initializer_range")
TEXT_FIELDS = ("architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
               "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings",
               "rms_norm_eps", "rope_theta", "rope_scaling", "attention_bias", "attention_dropout", "mlp_bias",
               "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "use_cache",
               "pretraining_tp")


def export(run: Path, out: Path, which: str = "averaged") -> None:
    """config.json, model.safetensors and generation_config.json from RUN/run.state.pt, and the processor files."""
    out.mkdir(parents=True, exist_ok=True)
    ids = build_tokenizer().get_vocab()
    config = configuration(VOCABULARY, ids)
    write_processor_files(out, TILE, IMAGE_TOKENS, CONTEXT)

    trained = torch.load(run / "run.state.pt")[which]
    weights = {k.removeprefix("vlm."): v.half().contiguous() for k, v in trained.items() if k.startswith("vlm.")}
    for name, tensor in weights.items():
        assert tensor.isfinite().all(), name
    expected = SmolVLMForConditionalGeneration(config).state_dict()
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in expected.items()}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)

    def write(name: str, value: dict) -> None:
        (out / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    write("config.json", {
        "architectures": config.architectures,
        "model_type": config.model_type,
        "image_token_id": config.image_token_id,
        "pad_token_id": config.pad_token_id,
        "scale_factor": config.scale_factor,
        "tie_word_embeddings": False,
        # float32, though the weights are stored in F16: vision position ids and all sums are those of float32
        "torch_dtype": "float32",
        "transformers_version": __version__,
        "use_cache": True,
        "vocab_size": VOCABULARY,
        "text_config": {"model_type": "llama", **{k: getattr(config.text_config, k) for k in TEXT_FIELDS}},
        "vision_config": {"model_type": config.vision_config.model_type,
                          **{k: getattr(config.vision_config, k) for k in VISION_FIELDS}},
    })
    write("generation_config.json", {
        "_from_model_config": True,
        "bos_token_id": ids["<|im_start|>"],
        "eos_token_id": ids["<end_of_utterance>"],
        "pad_token_id": ids["<|im_end|>"],
        "transformers_version": __version__,
    })
    if (run / "training-log.csv").exists():
        shutil.copy(run / "training-log.csv", out / "training-log.csv")
