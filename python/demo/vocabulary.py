"""The demo checkpoint's tokenizer and processor files, in the layout of the published SmolVLM checkpoints.

Ids: 17 control tokens, 256 bytes and the merges up to 896, then 128 image and reserved tokens, <end_of_utterance> last.
Digits and letters are tokens of their own, and 88 reserved tokens are left for later uses.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from . import questions as q
from .scenes import COLOURS, GROUNDS, PATTERNS, SHAPES

CONTROL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
    "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
    "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>",
)
IMAGE_TOKENS = (
    "<global-img>", *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)), "<fake_token_around_image>",
    "<image>", *(f"<|reserved_special_token_{i}|>" for i in range(88)), "<end_of_utterance>",
)
MERGED = 896  # control tokens, bytes and merges
VOCABULARY = MERGED + len(IMAGE_TOKENS)

# One user or assistant turn per line; a turn that begins with a picture has no space after its colon.
CHAT_TEMPLATE = (
    "<|im_start|>"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "<end_of_utterance>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

# Words that a later checkpoint will want as whole tokens (printed text, everyday things); they fill the vocabulary.
LATER = """
text word words letter letters number numbers read reads written writing print printed sign label title line page name
date time price total street road shop open closed exit enter stop go door window house tree car dog cat person people
face hand table chair book paper box cup bottle food water sky sun sea grass wall floor room light dark big small large
long short round old new good first second last one two three four five six seven eight nine ten and or not but with
without under over behind between next near both same other many some more less all left right up down here there this
that these those it its they he she has have had was were be been can could will would should do does did make made
from for by at to of off out into about after before where when who why how which what see saw look looks like image
picture photo video frame chart figure axis bar value percent high low start end begin back front side top bottom
centre center middle corner edge colour color colours colors brown gold silver grey dashed solid
""".split()


def _corpus() -> list[tuple[str, int]]:
    """(text, weight): every wording with every name it may hold, then the words kept for later."""
    names = [f"{c} {s}" for c, s in itertools.product(COLOURS, SHAPES)]
    plurals = [s + ("es" if s.endswith("s") else "s") for s in SHAPES]
    texts = [*q.DESCRIBE, *q.LIST, *q.BACKGROUND, *itertools.chain(*q.EXTREME.values())]
    texts += [w.format(x) for w in q.COUNT for x in ["shapes", *plurals]]
    texts += [w.format(a=names[0], b=names[9]) for w in (*q.RELATION, *q.SIDEWAYS, *q.UPDOWN)]
    texts += [f"Is the {names[0]} {words} the {names[5]}?" for words in q.YES_NO.values()]
    texts += [w.format(n) for w in (*q.PLACE, *q.COLOUR, *q.SHAPE) for n in names[:2]]
    texts += [w.format(q.article(n)) for w in q.EXISTS for n in names]
    answers = [f" {n}" for n in q.NUMBERS] + [" Yes.", " No.", " Left.", " Right.", " Above.", " Below.", " Higher.",
               " Lower.", " To the left.", " To the right.", " At the top left.", " At the bottom right."]
    answers += [f" A {n} and an {n}, on a over plain {g} background." for n in names for g in GROUNDS]
    answers += [" An orange circle."] * 3
    answers += [f" {w.capitalize()}." for w in (*COLOURS, *GROUNDS, *PATTERNS)] + [f" {p} {p}." for p in PATTERNS]
    turns = ["User:", "Assistant:", "System:", "\n"]
    return [(t, 1000) for t in texts + answers + turns] + [(f" {w}", 2) for w in LATER] + [(f" {w.capitalize()}", 1) for w in LATER]


def build_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=MERGED,
        special_tokens=list(CONTROL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((t for text, weight in _corpus() for t in itertools.repeat(text, weight)), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in IMAGE_TOKENS])
    assert tokenizer.get_vocab_size() == VOCABULARY, tokenizer.get_vocab_size()
    return tokenizer


def _write(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_processor_files(folder: Path, tile: int, image_tokens: int, context: int) -> None:
    """tokenizer.json and its companions, and the image processor's settings for one unsplit tile."""
    tokenizer = build_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))

    def plain(text: str, **more) -> dict:
        return {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **more}

    extra = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    roles = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    _write(folder / "special_tokens_map.json",
           {"additional_special_tokens": [plain(t) for t in extra], **{k: plain(v) for k, v in roles.items()}})
    _write(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): plain(t, special=True) for t in (*CONTROL, *IMAGE_TOKENS)
        },
        "additional_special_tokens": extra,
        **roles,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "processor_class": "SmolVLMProcessor",
        "tokenizer_class": "GPT2Tokenizer",
        "truncation_side": "left",
        "vocab_size": VOCABULARY,
    })
    _write(folder / "preprocessor_config.json", {
        "do_convert_rgb": True,
        "do_image_splitting": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SmolVLMImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": tile},
        "processor_class": "SmolVLMProcessor",
        "resample": 1,
        "rescale_factor": 0.00392156862745098,
        "size": {"longest_edge": tile},
    })
    _write(folder / "processor_config.json", {"image_seq_len": image_tokens, "processor_class": "SmolVLMProcessor"})
    _write(folder / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
