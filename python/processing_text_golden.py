"""The text part of make_processing_golden.py: tokenizers, chat templates, the whole processor."""

import json
import pathlib
import random
import unicodedata

from processing_image_golden import SMALL, save, sha
from processing_pictures import formula
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, SmolVLMImageProcessor, SmolVLMProcessor

# Over several lines, so that the trimming of blocks shows.
TEMPLATE = """{{ bos_token }}{% for message in messages %}
{{ message.role | capitalize }}:{% if message.content[0].type != 'image' %} {% endif %}
  {% for part in message.content %}
    {%- if part.type == 'text' %}{{ part.text }}{% elif part.type == 'image' %}<image>{% endif %}
  {% endfor %}
<end_of_utterance>
{% endfor %}
{% if add_generation_prompt %}Assistant:{% endif %}"""

CORPUS = [
    "User: What is in this picture? Assistant: There is a red square to the left of a blue circle on a white background.",
    "How many shapes are there? There are three shapes: two green triangles and one yellow star.",
    "It's what they don't know; we'll see, he'd said. I'm sure you've seen that they're there. 12 apples, 345 pears, 6789.",
    "Der Himmel über Köln ist heute blau; à bientôt, señor. Привет, мир! 你好，世界。こんにちは。 مرحبا بالعالم 🙂🎉",
]

TEXTS = [
    "Hello world",
    " leading and trailing  ",
    "\n\n\tTabs\tand\r\nnew lines \n \n  \n",
    "don't we'll I'M they'RE 's 't it 's",
    "1234567890 3.14159 1,000,000 12ab34 v2.0.1",
    "² ³ ½ ¾ ²³ ١٢٣ Ⅷ ⅣⅤ 一二三 ①②③ 𝟘𝟙",
    "café cafe\u0301 naïve Ångström ﬁ ﬂ ß ẞ İstanbul",
    "你好，世界！これはテストです。안녕하세요",
    "مرحبا بالعالم שלום עולם",
    "🙂 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 👍🏽 🎉🎉",
    "a\u0085b \u0085 c\u0085\u0085",
    "\ufeffbyte order mark a\ufeff b \ufeff \ufeff",
    "no\u00a0break\u2003em\u3000wide\u200bzero\u2028line\u2029paragraph",
    "\x00\x01\x1f\x7f control",
    "<image>",
    "<image><image> <image>\n<image>",
    "<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:",
    "<fake_token_around_image><row_1_col_1><image><row_1_col_2><row_6_col_6><global-img>",
    "<row_7_col_1> <row_1_col_7> <imag> <image <|im_end|",
    "<|endoftext|>x<|im_end|>y",
    "def f(x):\n    return x ** 2  # square\n\n\nclass A:\n\tpass\n",
    "https://example.org/a?b=c&d=%20#e user@example.org",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...;;;:::---___***///\\\\\\\"\"\"'''",
    "ＦＵＬＬ　ＷＩＤＴＨ ¡¿ «» “quoted” ‘single’ – — …",
    "Zażółć gęślą jaźń; Příliš žluťoučký kůň; Ελληνικά; हिन्दी; ไทย",
    "\U00010348\U0001d11e\U0002070e",
    "x" * 300 + " " * 40 + "\n" * 7 + "9" * 25,
]


def random_texts(count: int) -> list[str]:
    """Strings of assigned characters from all over Unicode, with ASCII and the markers mixed in."""
    source = random.Random(11)
    marks = ["<image>", "<end_of_utterance>", "<row_2_col_3>", " ", "  ", "\n", "'s", "12", "the ", " picture"]
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(source.randint(1, 30)):
            if source.random() < 0.35:
                parts.append(source.choice(marks))
            elif source.random() < 0.5:
                parts.append(chr(source.randint(32, 0x24F)))
            else:
                while unicodedata.category(c := chr(source.randint(0, 0x1FFFF))) in ("Cn", "Cs", "Co"):
                    pass
                parts.append(c)
        texts.append("".join(parts))
    return texts


def write_own_tokenizer(folder: pathlib.Path) -> None:
    """A byte-level BPE tokenizer of the real one's make, small enough to be committed, and its processor's files."""
    folder.mkdir(exist_ok=True)
    first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    grid = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    late = ["<global-img>", *grid, "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in late])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1) + "\n")  # noqa: E731
    write(
        "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "additional_special_tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
        },
    )
    write("chat_template.json", {"chat_template": TEMPLATE})
    write("processor_config.json", {"image_seq_len": 16, "processor_class": "SmolVLMProcessor"})
    write("preprocessor_config.json", {"image_processor_type": "SmolVLMImageProcessor", **SMALL})


class VideoStub:
    """Stands in for the video processor, which needs torchvision and is never called here."""

    num_frames, fps, model_input_names = 64, 1, []


def load_processor(folder: pathlib.Path) -> SmolVLMProcessor:
    SmolVLMProcessor.check_argument_for_proper_class = lambda self, name, argument: type(argument)
    read = lambda name: json.loads((folder / name).read_text())  # noqa: E731
    config = {k: v for k, v in read("preprocessor_config.json").items() if k != "image_processor_type"}
    return SmolVLMProcessor(
        SmolVLMImageProcessor(**config),
        AutoTokenizer.from_pretrained(folder),
        VideoStub(),
        image_seq_len=read("processor_config.json")["image_seq_len"],
        chat_template=read("chat_template.json")["chat_template"],
    )


def ids_for(seed: int, count: int, vocabulary: int) -> list[int]:
    """A linear congruential generator that TypeScript repeats."""
    ids = []
    for _ in range(count):
        seed = (seed * 1103515245 + 12345) % 2**31
        ids.append((seed >> 8) % vocabulary)
    return ids


def tokenizer_cases(tokenizer) -> dict:
    encode = lambda text: tokenizer(text)["input_ids"]  # noqa: E731
    joined = lambda ids: sha(",".join(map(str, ids)).encode())  # noqa: E731
    decoded = []
    for seed in range(1, 41):
        ids = ids_for(seed, 30, len(tokenizer))
        decoded.append(
            {
                "seed": seed,
                "vocabulary": len(tokenizer),
                "text": sha(tokenizer.decode(ids).encode()),
                "skipped": sha(tokenizer.decode(ids, skip_special_tokens=True).encode()),
            }
        )
    return {
        "texts": [{"text": text, "ids": encode(text)} for text in TEXTS],
        "random": [{"text": text, "sha256": joined(encode(text))} for text in random_texts(300)],
        "decoded": decoded,
    }


IMAGE = {"type": "image"}


def text(value: str) -> dict:
    return {"type": "text", "text": value}


CONVERSATIONS = [
    [{"role": "user", "content": [text("Hello")]}],
    [{"role": "user", "content": [IMAGE, text("What is this?")]}],
    [{"role": "user", "content": [text("Compare "), IMAGE, text(" and "), IMAGE]}],
    [
        {"role": "system", "content": [text("You are terse.")]},
        {"role": "user", "content": [IMAGE, text("Describe.\nNow. ")]},
        {"role": "assistant", "content": [text("A red square.")]},
        {"role": "user", "content": [text("Where?")]},
    ],
]

# Texts and the pictures of each, as [kind, height, width, channels].
CALLS = [
    (["<image>What is this?"], [[["wave", 100, 80, 3]]], {}),
    (["<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:"], [[["noise", 40, 200, 3]]], {"do_image_splitting": False}),
    (["a<image>b<image>c"], [[["wave", 64, 64, 3], ["noise", 30, 31, 4]]], {}),
    (["<image>", "two <image> and <image> of them"], [[["wave", 64, 256, 3]], [["wave", 90, 20, 3], ["noise", 9, 9, 1]]], {}),
]


def processor_cases(processor: SmolVLMProcessor) -> dict:
    prompts = []
    for conversation in CONVERSATIONS:
        for add in (False, True):
            prompt = processor.apply_chat_template(conversation, add_generation_prompt=add)
            prompts.append({"conversation": conversation, "add_generation_prompt": add, "prompt": prompt})
    calls = []
    for texts, images, options in CALLS:
        for side in ("left", "right"):
            out = processor(
                text=texts,
                images=[[formula(*picture) for picture in sample] for sample in images],
                padding=True,
                padding_side=side,
                return_tensors="np",
                # Given flat, do_image_splitting is dropped without a word by 4.56.2's SmolVLMProcessor.
                images_kwargs=options,
            )
            calls.append(
                {
                    "text": texts,
                    "images": images,
                    "options": {**options, "padding_side": side},
                    "dims": list(out["input_ids"].shape),
                    "input_ids": sha(",".join(map(str, out["input_ids"].reshape(-1))).encode()),
                    "attention_mask": sha(",".join(map(str, out["attention_mask"].reshape(-1))).encode()),
                    "pixel_values": sha(out["pixel_values"].astype("<f4").tobytes()),
                    "pixel_dims": list(out["pixel_values"].shape),
                }
            )
    return {"prompts": prompts, "calls": calls}


def write_text_cases(out: pathlib.Path, made_by: dict, real: pathlib.Path) -> None:
    own = out / "tokenizer"
    write_own_tokenizer(own)
    for name, folder in [("own", own), ("real", real)]:
        if not (folder / "tokenizer.json").exists():
            print(f"text_{name}.json: left as it is, no {folder}")
            continue
        processor = load_processor(folder)
        cases = [{"tokenizer": tokenizer_cases(processor.tokenizer), "processor": processor_cases(processor)}]
        save(out / f"text_{name}.json", made_by, cases)
