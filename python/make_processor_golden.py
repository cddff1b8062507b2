"""Writes test/fixtures/processor/: what transformers' SmolVLMProcessor makes of calls and conversations, and which of them
it refuses.

Usage: python python/make_processor_golden.py [--shared DIR]

Needs torchvision, which the reference's video processor is made of. Runs over checkpoints/smolvlm-shapes and, where it is
there, over DIR/checkpoints/SmolVLM-256M-Instruct (DIR: ../shared beside the project, or $SMOLVLM_SHARED); without it the
expectations made from those files are left as they are.
"""

import argparse
import copy
import hashlib
import json
import os
import pathlib
import tempfile
import warnings

import numpy as np
import PIL
import tokenizers
import torch
import torchvision
import transformers
from processing_pictures import formula
from processor_cases import CALLS, CHATS, DECODES, REAL_CHATS, WORDS
from transformers import SmolVLMProcessor
from transformers.video_utils import VideoMetadata

ROOT = pathlib.Path(__file__).resolve().parent.parent
MADE_BY = {
    "transformers": transformers.__version__,
    "tokenizers": tokenizers.__version__,
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "pillow": PIL.__version__,
}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def picture(spec):
    return spec if spec is None else formula(*spec)


def video(spec):
    """[kind, frames, height, width]: a formula picture, each frame 16 levels brighter than the one before."""
    kind, frames, height, width = spec
    first = formula(kind, height, width, 3)
    return np.stack([(first.astype(np.int32) + 16 * t).astype(np.uint8) for t in range(frames)])


def nested(value, depth, make):
    return make(value) if depth == 0 else [nested(item, depth - 1, make) for item in value]


def describe(value):
    """A tensor as dims and hash, anything else as it is."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return {"dims": list(array.shape), "sha256": sha(array.astype("<f4").tobytes())}
        joined = ",".join(map(str, array.astype(np.int64).reshape(-1)))
        return {"dims": list(array.shape), "sum": int(array.sum()), "sha256": sha(joined.encode())}
    return value


def outcome(action):
    try:
        result = action()
    except Exception as error:  # noqa: BLE001: whatever it raises is what is recorded
        return {"error": type(error).__name__, "message": str(error)[:300]}
    if isinstance(result, str) or not hasattr(result, "items"):
        return {"result": describe(result)}
    return {"result": {key: describe(value) for key, value in result.items() if key != "video_metadata"}}


def run_call(processor, case):
    inputs = dict(case["inputs"])
    if "images" in inputs:
        inputs["images"] = nested(inputs["images"], case.get("image_depth", 2), picture)
    if "videos" in inputs:
        inputs["videos"] = nested(inputs["videos"], case.get("video_depth", 2), video)
    options = copy.deepcopy(case.get("options", {}))
    if "video_metadata" in options:
        options["video_metadata"] = [VideoMetadata(**item) for item in options["video_metadata"]]
    if case.get("tensors", "pt"):
        options["return_tensors"] = case.get("tensors", "pt")
    return outcome(lambda: processor(**inputs, **options))


def run_chat(processor, case):
    def with_media(message):
        content = message["content"]
        if isinstance(content, str):
            return message
        pieces = []
        for piece in content:
            piece = dict(piece)
            if isinstance(piece.get("image"), list):
                piece["image"] = PIL.Image.fromarray(picture(piece["image"]))
            if isinstance(piece.get("video"), list):
                piece["video"] = video(piece["video"])
            pieces.append(piece)
        return {**message, "content": pieces}

    def call():
        conversation = case["conversation"]
        batched = isinstance(conversation[0], list)
        make = lambda messages: [with_media(message) for message in messages]  # noqa: E731
        conversation = [make(c) for c in conversation] if batched else make(conversation)
        options = copy.deepcopy(case.get("options", {}))
        if "video_metadata" in options:
            options["video_metadata"] = [VideoMetadata(**item) for item in options["video_metadata"]]
        if options.get("tokenize"):
            options = {"return_dict": True, "return_tensors": "pt", **options}
        return processor.apply_chat_template(conversation, **options)

    return outcome(call)


def words_cases(processor):
    """The tokenizer of these checkpoints refuses words, for want of a prefix space; the one underneath does not."""
    backend = processor.tokenizer._tokenizer
    backend.no_padding()
    backend.no_truncation()
    cases = []
    for words in WORDS:
        refused = outcome(lambda: processor(text=[words], is_split_into_words=True))  # noqa: B023
        cases.append({"words": words, "ids": backend.encode(words, is_pretokenized=True).ids, "reference": refused})
    return cases


def decode_cases(processor):
    cases = []
    for ids in DECODES:
        array = np.array(ids)
        cases.append(
            {
                "ids": ids,
                "batch_decode": processor.batch_decode(array),
                "skipped": processor.batch_decode(array, skip_special_tokens=True),
                "post_process": processor.post_process_image_text_to_text(array),
                "kept": processor.post_process_image_text_to_text(array, skip_special_tokens=False),
            }
        )
    return cases


def saved_files(processor):
    names = [
        "preprocessor_config.json",
        "video_preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
    ]
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        read = lambda name: (pathlib.Path(folder) / name).read_text()  # noqa: E731
        return {name: json.loads(read(name)) if name.endswith(".json") else read(name) for name in names}


def facts(processor):
    tokenizer = processor.tokenizer
    return {
        "model_input_names": processor.model_input_names,
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "model_max_length": tokenizer.model_max_length,
        "image_token_id": processor.image_token_id,
        "image_seq_len": processor.image_seq_len,
        "video_token": processor.video_token,
        "image_processor": type(processor.image_processor).__name__,
    }


def write(folder: pathlib.Path, out: pathlib.Path, chats) -> None:
    load = lambda: SmolVLMProcessor.from_pretrained(folder)  # noqa: E731
    processor = load()
    content = {
        "made_by": MADE_BY,
        "facts": facts(processor),
        "calls": [{**case, **run_call(processor, case)} for case in CALLS],
        "chats": [{**case, **run_chat(processor, case)} for case in chats],
        "words": words_cases(load()),
        "decodes": decode_cases(processor),
        "saved": saved_files(load()),
    }
    out.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default=os.environ.get("SMOLVLM_SHARED", str(ROOT.parent / "shared")))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    out = ROOT / "test" / "fixtures" / "processor"
    out.mkdir(parents=True, exist_ok=True)
    write(ROOT / "checkpoints" / "smolvlm-shapes", out / "embedded.json", CHATS)
    real = pathlib.Path(args.shared) / "checkpoints" / "SmolVLM-256M-Instruct"
    if (real / "tokenizer.json").exists():
        write(real, out / "real.json", CHATS + REAL_CHATS)
    else:
        print(f"real.json: left as it is, no {real}")


if __name__ == "__main__":
    main()
