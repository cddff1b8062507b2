"""Writes the goldens of generation: what each logits processor makes of scores, and what `generate` makes of the tiny checkpoints.

Usage:
    python python/make_generation_golden.py [--goldens test/goldens] [--threads N]

OUT/generation/processors.safetensors: `logits` [R, V], `input_ids` [R, S] and for each case `scores.<case>` [R, V], the scores after
the processors that the case's options ask for. Metadata `cases`: {case: options}, `prompt_length`.
OUT/generation/runs.json: {"versions", "random", "runs": [{"name", "checkpoint", "options", "sequences", ...}]}, each run a call of
`generate` with the inputs of that checkpoint's golden; beam searches with `sequences_scores` and `beam_indices`. A beam search or
greedy run is kept only if the float64 model finds the same sequences, so that none hangs on a tie. `random` are first draws of some
streams: four of 32 bits, then one in [0, 1).
OUT/generation/beam-steps.json: {"versions", "searches": [{"num_beams", "early_stopping", "length_penalty", "maxLength", "steps"}]}, what
the reference keeps of random candidates; candidate k of step n, counted from 0, is called n · candidates + k.
OUT/generation/scores.safetensors: `<run>.scores` and `<run>.logits` [steps, rows, V] of some of the runs.

Where tokens are drawn, torch.multinomial is replaced by the generator that src/generation/random.ts documents and by the inversion of
the distribution function in order of the ids, written a second time in generation_random.py; a draw closer than 2e-7 to the border of two ids is refused.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import GenerationConfig

from float64_twin import POSITION_EMBEDDING, float64_reference
from generation_beam_steps import beam_steps
from generation_random import Random, seeded_multinomial
from golden_file import write_golden
from make_golden import GoldenError, call_inputs, load_model

def processor_cases(eos):
    """Options by case: each processor and warper alone, then whole chains."""
    alone = {
        "temperature": {"do_sample": True, "temperature": 0.7, "top_k": 0},
        "top_k": {"do_sample": True, "top_k": 9},
        "top_k_default": {"do_sample": True},
        "top_p": {"do_sample": True, "top_k": 0, "top_p": 0.83},
        "top_p_narrow": {"do_sample": True, "top_k": 0, "top_p": 0.05},
        "top_p_zero": {"do_sample": True, "top_k": 0, "top_p": 0.0},
        "min_p": {"do_sample": True, "top_k": 0, "min_p": 0.06},
        "typical_p": {"do_sample": True, "top_k": 0, "typical_p": 0.6},
        "typical_p_wide": {"do_sample": True, "top_k": 0, "typical_p": 0.97},
        "epsilon_cutoff": {"do_sample": True, "top_k": 0, "epsilon_cutoff": 0.004},
        "eta_cutoff": {"do_sample": True, "top_k": 0, "eta_cutoff": 0.02},
        "repetition_penalty": {"repetition_penalty": 1.37},
        "repetition_reward": {"repetition_penalty": 0.8},
        "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
        "no_repeat_unigram": {"no_repeat_ngram_size": 1},
        "bad_words_ids": {"bad_words_ids": [[5], [17, 9], [eos], [4, 17, 30]], "eos_token_id": eos},
        "sequence_bias": {"sequence_bias": [[[5], 2.5], [[17, 9], -1.25], [[30], 0.1]]},
        "min_length": {"min_length": 11, "eos_token_id": [eos, 7]},
        "min_length_reached": {"min_length": 10, "eos_token_id": eos},
        "min_new_tokens": {"min_new_tokens": 5, "eos_token_id": [eos, 7]},
        "min_new_tokens_reached": {"min_new_tokens": 4, "min_length": 50, "eos_token_id": eos},
        "suppress_tokens": {"suppress_tokens": [1, 2, 3, 130]},
        "forced_eos_token_id": {"forced_eos_token_id": 8, "max_length": 11},
        "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (2, 1.3), "eos_token_id": eos},
        "renormalize_logits": {"renormalize_logits": True, "suppress_tokens": [11, 12]},
    }
    chains = {
        "chain_usual": {"do_sample": True, "temperature": 0.6, "top_k": 30, "top_p": 0.9},
        "chain_all": {
            "do_sample": True, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "bad_words_ids": [[40], [41, 42]],
            "min_new_tokens": 6, "eos_token_id": [eos, 7], "suppress_tokens": [50, 51], "sequence_bias": [[[60], 1.5]],
            "temperature": 1.3, "top_k": 60, "top_p": 0.95, "min_p": 0.01, "typical_p": 0.9, "epsilon_cutoff": 0.002,
            "eta_cutoff": 0.003, "renormalize_logits": True,
        },
        "chain_beams": {
            "do_sample": True, "num_beams": 3, "top_k": 1, "top_p": 0.02, "min_p": 0.9, "typical_p": 0.02,
            "epsilon_cutoff": 0.5, "eta_cutoff": 0.5, "eos_token_id": [eos, 7],
        },
    }  # fmt: skip
    return alone | chains


def processor_goldens(model):
    """Scores after each case's processors, from random logits and ids with repetitions."""
    generator = torch.Generator().manual_seed(7)
    vocabulary = model.config.text_config.vocab_size
    logits = 2.5 * torch.randn((3, vocabulary), generator=generator)
    ids = torch.randint(20, (3, 10), generator=generator)
    ids[0, -2:] = torch.tensor([4, 17])
    ids[1, 2:4] = torch.tensor([9, 13])
    ids[1, -1] = 9
    prompt_length, cases = 6, processor_cases(3)
    out = {"logits": logits, "input_ids": ids}
    for name, options in cases.items():
        given = GenerationConfig(pad_token_id=2, **options)
        model._prepare_special_tokens(given, True, device="cpu")
        if given.min_new_tokens is not None:  # as _prepare_generated_length does
            given.min_length = given.min_new_tokens + prompt_length
        processors = model._get_logits_processor(given, prompt_length, ids[:, :prompt_length], device="cpu")
        out[f"scores.{name}"] = processors(ids, logits.clone())
    return out, {"cases": json.dumps(cases), "prompt_length": str(prompt_length)}


def runs_of(checkpoint, greedy_row, beam_row):
    """Names and options of a checkpoint's runs; the eos are ids that its greedy run and beam search come to."""
    early = {"eos_token_id": greedy_row[3], "max_new_tokens": 10}
    two = {"eos_token_id": [beam_row[2], beam_row[4]], "max_new_tokens": 9}
    runs = {
        "greedy": {"max_new_tokens": 8},
        "greedy-eos": early,
        "greedy-penalties": early | {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 6},
        "beams-2": {"num_beams": 2, "max_new_tokens": 8},
        "beams-3": {"num_beams": 3, "max_new_tokens": 8, "num_return_sequences": 3},
        "beams-4-eos": two | {"num_beams": 4, "num_return_sequences": 2},
        "beams-3-eos-early": two | {"num_beams": 3, "early_stopping": True, "num_return_sequences": 3},
        "beams-3-eos-never": two | {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.0},
        "beams-2-eos-long": two | {"num_beams": 2, "length_penalty": 2.0, "early_stopping": "never"},
        "beams-4-eos-short": two | {"num_beams": 4, "length_penalty": -1.5, "num_return_sequences": 4},
        "beams-3-pad-0": two | {"num_beams": 3, "num_return_sequences": 3, "length_penalty": -1.0, "pad_token_id": 0},
        "beams-2-penalties": two | {"num_beams": 2, "repetition_penalty": 1.5, "min_new_tokens": 3},
        "sample": {"do_sample": True, "seed": 11, "max_new_tokens": 8},
        "sample-warped": {
            "do_sample": True, "seed": 2**40 + 3, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "max_new_tokens": 8,
            "num_return_sequences": 3, "eos_token_id": greedy_row[1],
        },
        "beam-sample": two | {"do_sample": True, "num_beams": 3, "seed": 5, "temperature": 1.5, "num_return_sequences": 2},
    }  # fmt: skip
    return {f"{checkpoint}/{name}": options for name, options in runs.items()}


def generate(model, inputs, options):
    """The reference's generate with everything it gives."""
    given = dict(options)
    seed = given.pop("seed", None)
    rows = 1 if given.get("num_beams", 1) > 1 else given.get("num_return_sequences", 1)
    with torch.no_grad(), seeded_multinomial(seed, rows):
        return model.generate(**inputs, **given, return_dict_in_generate=True, output_scores=True, output_logits=True)


def golden_inputs(path):
    """The inputs of a checkpoint's golden that generate takes."""
    names = ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask", "image_hidden_states", "inputs_embeds")
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(f"inputs.{name}") for name in names if f"inputs.{name}" in file.keys()}


def vision_positions(model):
    """A list that gets the vision position ids of every forward from now on: float64 twins must use the same."""
    seen = []
    model.get_submodule(POSITION_EMBEDDING).register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    return seen


def checkpoint_runs(folder, score_names):
    """All runs of one checkpoint, and the scores of those that are named."""
    model, _ = load_model(folder, torch.float32)
    inputs = golden_inputs(folder / "golden.safetensors")
    pad = model.config.text_config.pad_token_id
    model.generation_config = GenerationConfig(pad_token_id=pad if pad is not None else 0)
    length = inputs["input_ids"].shape[1]
    new = lambda options: generate(model, inputs, options).sequences[0, length:].tolist()  # noqa: E731
    runs = runs_of(folder.name, new({"max_new_tokens": 8}), new({"num_beams": 3, "max_new_tokens": 8}))
    positions = vision_positions(model)
    out, seen = {}, {}
    for name, options in runs.items():
        out[name] = generate(model, inputs, options)
        seen[name] = positions.pop() if positions else None
        positions.clear()
    for name, options in runs.items():
        if options.get("do_sample"):
            continue
        with float64_reference(model, seen[name]):
            twin = generate(model, call_inputs(inputs, torch.float64), options).sequences
        if twin.shape != out[name].sequences.shape or (twin != out[name].sequences).any():
            raise GoldenError(f"{name}: float64 finds other sequences")
    entries, tensors = [], {}
    for name, options in runs.items():
        result = out[name]
        entry = {"name": name, "checkpoint": folder.name, "options": options, "sequences": result.sequences.tolist()}
        if options.get("num_beams", 1) > 1:
            entry["sequences_scores"] = result.sequences_scores.tolist()
            entry["beam_indices"] = result.beam_indices.tolist()
        entries.append(entry)
        if name.split("/")[1] in score_names:
            tensors[f"{name}.scores"] = torch.stack(result.scores)
            tensors[f"{name}.logits"] = torch.stack(result.logits)
    return entries, tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldens", default="test/goldens", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = args.goldens / "generation"
    out.mkdir(exist_ok=True)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    model, _ = load_model(args.goldens / "one-image", torch.float32)
    tensors, metadata = processor_goldens(model)
    write_golden(tensors, out / "processors.safetensors", metadata | versions)
    searches = ",\n".join(f"    {json.dumps(search)}" for search in beam_steps(model))
    (out / "beam-steps.json").write_text(f'{{\n  "versions": {json.dumps(versions)},\n  "searches": [\n{searches}\n  ]\n}}\n')
    entries, scores = [], {}
    checkpoints = {
        "one-image": ("greedy-penalties", "beams-4-eos", "beams-3-eos-early"),
        "batch-0123-images": ("greedy-eos",),
        "text-only-tied-bf16": (),
        "relu-right-padded": (),
    }
    for checkpoint, score_names in checkpoints.items():
        more, tensors = checkpoint_runs(args.goldens / checkpoint, score_names)
        entries += more
        scores |= tensors
    write_golden(scores, out / "scores.safetensors", versions)
    keys = [(0, 0, 0), (1, 0, 0), (1, 2, 0), (1, 0, 2), (2**53 - 1, 3, 1)]
    random = [{"key": key, "uint32": [stream.uint32() for _ in range(4)], "float64": stream.uniform()}
              for key, stream in ((key, Random(*key)) for key in keys)]  # fmt: skip
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
    Path(out / "runs.json").write_text(f'{{\n  "versions": {json.dumps(versions)},\n  "random": {json.dumps(random)},\n  "runs": [\n{lines}\n  ]\n}}\n')
    print(f"{len(metadata)} metadata, {len(entries)} runs, {len(scores)} score tensors")


if __name__ == "__main__":
    main()
