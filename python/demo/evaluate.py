"""Held-out pictures, from files through transformers' own processor and generate, and the fixtures made of them."""

from __future__ import annotations

import collections
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import PIL
import tokenizers
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, SmolVLMForConditionalGeneration, SmolVLMImageProcessor, SmolVLMProcessor
from transformers.image_utils import load_image
from transformers.utils import is_torchvision_available

from .questions import KINDS, ask, sample_questions
from .scenes import Scene, picture_file

HELD_OUT = range(0, 500)
COMMITTED = range(0, 200)
TALKED_ABOUT = range(0, 100)
TURNS = 4
CONVERSATIONS = 3_000_000_000  # seeds of their questions
MAX_NEW_TOKENS = 48


class PictureProcessor(SmolVLMProcessor):
    """SmolVLMProcessor without its video part, which alone needs torchvision; pictures and text go the same way."""

    attributes = ["image_processor", "tokenizer"]

    def __init__(self, folder: Path):
        self.image_processor = SmolVLMImageProcessor.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.image_seq_len = json.loads((folder / "processor_config.json").read_text())["image_seq_len"]
        self.chat_template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
        self.fake_image_token, self.image_token = "<fake_token_around_image>", "<image>"
        self.global_image_token, self.video_token = "<global-img>", "<video>"
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(self.image_token)


class Answerer:
    """The checkpoint in float32, one picture and question at a time, greedy."""

    def __init__(self, folder: Path):
        whole = is_torchvision_available()
        self.processor = SmolVLMProcessor.from_pretrained(folder) if whole else PictureProcessor(folder)
        assert type(self.processor.image_processor).__name__ == "SmolVLMImageProcessor"
        self.model = SmolVLMForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
        assert self.model.dtype == torch.float32

    @torch.no_grad()
    def __call__(self, file: Path, question: str,
                 earlier: list[tuple[str, str]] = []) -> tuple[str, list[int], list[int]]:
        """(text of the new tokens, their ids, the prompt's ids); `earlier` are the turns before, the picture's with the first."""
        messages = []
        for asked, said in [*earlier, (question, None)]:
            messages.append({"role": "user", "content": [{"type": "text", "text": asked}]})
            if said is not None:
                messages.append({"role": "assistant", "content": [{"type": "text", "text": said}]})
        messages[0]["content"].insert(0, {"type": "image"})
        # the template on the tokenizer gives the same string as on the processor, whose version asks for its video part
        template = self.processor.chat_template
        prompt = self.processor.tokenizer.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        inputs = self.processor(text=prompt, images=[load_image(str(file))], return_tensors="pt")
        out = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        new = out[:, inputs.input_ids.shape[1] :]
        text = self.processor.batch_decode(new, skip_special_tokens=True)[0]
        return text, new[0].tolist(), inputs.input_ids[0].tolist()


def held_out(seed: int) -> tuple[Scene, str, bytes, str, str, str]:
    """(scene, extension, bytes, kind, question, truth): the kinds take turns over the seeds."""
    scene, extension, data, rng = picture_file(seed)
    for shift in range(len(KINDS)):
        kind = KINDS[(seed + shift) % len(KINDS)]
        if pair := ask(scene, kind, rng):
            return scene, extension, data, kind, *pair
    raise AssertionError("describe can always be asked")


def conversation(answer: Answerer, file: Path, seed: int, turns: int) -> list[dict]:
    """`turns` questions about a held-out picture, each asked behind the model's own answers to those before."""
    scene = picture_file(seed)[0]
    asked = sample_questions(scene, turns, np.random.default_rng([CONVERSATIONS, seed]), even=True)
    earlier, done = [], []
    for kind, question, truth in asked:
        text, ids, prompt = answer(file, question, earlier)
        said = text.strip()
        earlier.append((question, said))
        done.append({"kind": kind, "question": question, "answer": said, "truth": truth, "ids": ids, "prompt_ids": prompt})
    return done


def evaluate(model: Path, report: Path | None) -> None:
    answer = Answerer(model)
    right, asked, wrong = collections.Counter(), collections.Counter(), []
    turns = [0] * TURNS
    with tempfile.TemporaryDirectory() as folder:
        for seed in HELD_OUT:
            _, extension, data, kind, question, truth = held_out(seed)
            file = Path(folder) / f"{seed:03}.{extension}"
            file.write_bytes(data)
            said = answer(file, question)[0].strip()
            asked[kind] += 1
            right[kind] += said == truth
            if said != truth:
                wrong.append({"seed": seed, "kind": kind, "question": question, "answer": said, "truth": truth})
            if seed in TALKED_ABOUT:
                for turn, made in enumerate(conversation(answer, file, seed, TURNS)):
                    turns[turn] += made["answer"] == made["truth"]
    result = {
        "exact": sum(right.values()) / len(HELD_OUT),
        "kinds": {k: [right[k], asked[k]] for k in KINDS},
        "conversations": {"pictures": len(TALKED_ABOUT), "exact_by_turn": turns},
        "wrong": wrong,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if report:
        report.write_text(text + "\n", encoding="utf-8")


def _small(seed: int) -> tuple[Scene, str, bytes, str, str, str]:
    """A held-out sample as it is; a large PNG is packed tighter without touching a pixel."""
    scene, extension, data, kind, question, truth = held_out(seed)
    if extension == "png":
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).save(out, "PNG", optimize=True)
        data = min(data, out.getvalue(), key=len)
    return scene, extension, data, kind, question, truth


def write_fixtures(model: Path, out: Path, budget: int = 2_400_000) -> None:
    """200 held-out pictures as files, with the model's own greedy answers.

    Noise makes large PNG files, so a seed whose file takes more than 2.5 times its share of the budget is left out.
    """
    answer = Answerer(model)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.*"):
        old.unlink()
    entries, total = [], 0
    for seed in HELD_OUT:
        _, extension, data, kind, question, truth = _small(seed)
        if len(data) > 2.5 * budget / len(COMMITTED):
            continue
        file = out / f"{seed:03}.{extension}"
        file.write_bytes(data)
        total += len(data)
        text, ids, prompt = answer(file, question)
        entries.append({"file": file.name, "kind": kind, "question": question, "answer": text, "truth": truth, "ids": ids,
                        "prompt_ids": prompt})
        if len(entries) == len(COMMITTED):
            break
    assert total < budget, total
    head = {
        "checkpoint": model.name,
        "max_new_tokens": MAX_NEW_TOKENS,
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__, "pillow": PIL.__version__,
                     "tokenizers": tokenizers.__version__},
        "exact": sum(e["answer"].strip() == e["truth"] for e in entries),
    }
    talks = [{"file": e["file"], "turns": conversation(answer, out / e["file"], int(e["file"][:3]), TURNS)}
             for e in entries[: len(TALKED_ABOUT) // 4]]
    (out / "conversations.json").write_text(
        json.dumps({k: head[k] for k in ("checkpoint", "max_new_tokens", "versions")}, indent=1)[:-2]
        + ',\n "conversations": [\n' + ",\n".join("  " + json.dumps(t) for t in talks) + "\n ]\n}\n", encoding="utf-8")
    lines = ",\n".join("  " + json.dumps(e) for e in entries)
    body = json.dumps(head, indent=1)[:-2] + ',\n "samples": [\n' + lines + "\n ]\n}\n"
    (out / "answers.json").write_text(body, encoding="utf-8")
    print(f"{len(entries)} pictures, {total} bytes, {head['exact']} exact")
