"""The calls and conversations of make_processor_golden.py. Options are those that TypeScript gets as well.

Pictures are [kind, height, width, channels], videos [kind, frames, height, width]. A small size keeps real files quick.
"""

SMALL = {"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}}
P = ["wave", 40, 30, 3]
Q = ["noise", 20, 64, 3]
V = ["wave", 4, 32, 48]
AT_24 = {"total_num_frames": 4, "fps": 24.0, "duration": 4 / 24, "frames_indices": [0, 1, 2, 3]}
SLOW = {"total_num_frames": 8, "fps": 0.1, "duration": 80.0}
TEXTS = ["red", "red and blue squares", "What is this?"]


def call(name, inputs, options=None, **rest):
    return {"name": name, "inputs": inputs, "options": options or {}, **rest}


CALLS = [
    call("padding true", {"text": TEXTS}, {"padding": True}),
    call("padding longest on the left", {"text": TEXTS}, {"padding": "longest", "padding_side": "left"}),
    call("padding longest on the right", {"text": TEXTS}, {"padding": "longest", "padding_side": "right"}),
    call("padding max_length", {"text": TEXTS}, {"padding": "max_length", "max_length": 24, "padding_side": "left"}),
    call("padding max_length of the model", {"text": TEXTS}, {"padding": "max_length"}),
    call("padding do_not_pad", {"text": ["red", "red"]}, {"padding": "do_not_pad"}),
    call("padding false of different lengths", {"text": TEXTS}, {"padding": False}),
    call("padding max_length below the texts", {"text": TEXTS}, {"padding": "max_length", "max_length": 2}),
    call("padding to a multiple", {"text": TEXTS}, {"padding": True, "pad_to_multiple_of": 8}),
    call(
        "max_length to a multiple",
        {"text": TEXTS},
        {"padding": "max_length", "max_length": 21, "pad_to_multiple_of": 8},
    ),
    call("padding unknown", {"text": TEXTS}, {"padding": "widest"}),
    call("truncation", {"text": TEXTS}, {"padding": True, "truncation": True, "max_length": 3}),
    call("truncation longest_first", {"text": TEXTS}, {"padding": True, "truncation": "longest_first", "max_length": 3}),
    call("truncation only_first", {"text": "red and blue squares"}, {"truncation": "only_first", "max_length": 2}),
    call("truncation without max_length", {"text": "red " * 9000}, {"truncation": True}),
    call("max_length alone truncates", {"text": "red and blue squares"}, {"max_length": 3}),
    call("truncation unknown", {"text": "red"}, {"truncation": "middle"}),
    call(
        "truncation no multiple",
        {"text": TEXTS},
        {"padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8},
    ),
    call("truncation and padding", {"text": TEXTS}, {"padding": "max_length", "truncation": True, "max_length": 6}),
    call("stride without overflow", {"text": "red and blue"}, {"truncation": True, "max_length": 3, "stride": 1}),
    call(
        "more about tokens",
        {"text": TEXTS},
        {
            "padding": True,
            "return_token_type_ids": True,
            "return_special_tokens_mask": True,
            "return_length": True,
        },
    ),
    call("no attention mask", {"text": "red"}, {"return_attention_mask": False}),
    call("special tokens in the text", {"text": "<|im_start|>red<end_of_utterance>"}, {"add_special_tokens": False}),
    call("text_kwargs", {"text": TEXTS}, {"text_kwargs": {"padding": True, "padding_side": "left"}}),
    call("given twice", {"text": TEXTS}, {"padding": True, "text_kwargs": {"padding": True}}),
    call("mm token types", {"text": "red"}, {"return_mm_token_type_ids": True}),
    call("unknown option", {"text": "red"}, {"shimmer": 3}),
    call("audio", {"text": "red", "audio": [0.5]}),
    call("nothing", {}),
    call("no texts", {"text": []}),
    call("an empty text", {"text": ""}),
    call("an empty text in a batch", {"text": ["", "red"]}, {"padding": True}),
    call("a number as text", {"text": 7}),
    call("one picture without text", {"images": P}, SMALL, image_depth=0),
    call("pictures without text", {"images": [P, Q]}, SMALL, image_depth=1),
    call("uneven pictures without text", {"images": [[P], [P, Q]]}, SMALL),
    call("a picture for a text", {"text": "<image>What?", "images": P}, SMALL, image_depth=0),
    call("two pictures in one text", {"text": "<image>and<image>?", "images": [P, Q]}, SMALL, image_depth=1),
    call("flat pictures for several texts", {"text": ["<image>a", "<image>b"], "images": [P, Q]}, SMALL, image_depth=1),
    call(
        "pictures for several texts",
        {"text": ["<image>In this image, we see", "bla bla bla<image>, <image>"], "images": [[P], [Q, P]]},
        {"padding": True, "padding_side": "left", **SMALL},
    ),
    call(
        "images_kwargs split the picture",
        {"text": "<image>What?", "images": [[Q]]},
        {"images_kwargs": {"do_image_splitting": True, **SMALL}},
    ),
    call(
        "images_kwargs do not split the picture",
        {"text": "<image>What?", "images": [[Q]]},
        {"images_kwargs": {"do_image_splitting": False, **SMALL}},
    ),
    call("splitting per call", {"text": "<image>What?", "images": [[Q]]}, {"do_image_splitting": True, **SMALL}),
    call("not splitting per call", {"text": "<image>What?", "images": [[Q]]}, {"do_image_splitting": False, **SMALL}),
    call(
        "no rows and columns",
        {"text": "<image>What?", "images": [[Q]]},
        {"images_kwargs": {"return_row_col_info": False, "do_image_splitting": True, **SMALL}},
    ),
    call(
        "flat beside images_kwargs",
        {"text": "<image>What?", "images": [[Q]]},
        {"max_image_size": {"longest_edge": 32}, "images_kwargs": {"do_image_splitting": False, "size": {"longest_edge": 64}}},
    ),
    call("max_image_size as a number", {"images": [[P]]}, {"size": {"longest_edge": 256}, "max_image_size": 64}),
    call("cropping by the slow processor", {"images": [[P]]}, {"do_center_crop": True}),
    call("a row of text alone", {"text": ["<image>a", "b"], "images": [[P], []]}, {"padding": True, **SMALL}),
    call("more tokens than pictures", {"text": "<image><image>", "images": [[P]]}, SMALL),
    call("fewer tokens than pictures", {"text": "none", "images": [[P]]}, SMALL),
    call("tokens and no pictures", {"text": ["<image>", "<image><image>"]}),
    call(
        "truncation cuts image tokens",
        {"text": "<image>What?", "images": [[P]]},
        {"truncation": True, "max_length": 5, **SMALL},
    ),
    call(
        "truncation spares image tokens",
        {"text": "<image>What is this? " + "red " * 90, "images": [[P]]},
        {"truncation": False, "max_length": 40, "images_kwargs": {"do_image_splitting": False, **SMALL}},
    ),
    call("pictures and videos without text", {"images": [[P]], "videos": [[V]]}, SMALL),
    call("pictures and videos", {"text": "<image><video>", "images": [[P]], "videos": [[V]]}, SMALL),
    call("a video", {"text": "<video>What?", "videos": [[V]]}, {"video_metadata": [AT_24]}),
    call("a video without metadata", {"text": "<video>What?", "videos": [[V]]}),
    call("two videos in one text", {"text": "<video>, <video>?", "videos": [[V, V]]}, {"video_metadata": [AT_24] * 2}),
    call("a list of one video", {"text": "<video>What?", "videos": [V]}, video_depth=1),
    call("a video without text", {"videos": [V]}, video_depth=1),
    call(
        "videos for two texts",
        {"text": ["<video>What?", "Hm <video>"], "videos": [[V], [V]]},
        {"padding": True, "video_metadata": [AT_24] * 2},
    ),
    call(
        "a sampled video",
        {"text": "<video>What?", "videos": [[["noise", 8, 32, 48]]]},
        {"video_metadata": [SLOW], "do_sample_frames": True, "num_frames": 3, "fps": 1},
    ),
    call("more videos than tokens", {"text": "none", "videos": [[V]]}),
    call("a row without a video", {"text": ["<video>a", "b"], "videos": [[V], []]}, {"padding": True}),
]


def text(value):
    return {"type": "text", "text": value}


IMAGE = {"type": "image", "image": P}
ASK = [{"role": "user", "content": [text("Hello ")]}, {"role": "assistant", "content": [text("I see ")]}]
PLAIN = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}"
EXTRAS = "{{ tools | length }} {{ tools[0].name }} {{ documents[0].title }} {{ mood }} {{ bos_token }}{{ eos_token }}"
CASES = "{{ 'hELLO wORLD' | capitalize }} {{ 'ÀB' | capitalize }} {{ messages[0].role.capitalize() }} {{ 'hELLO wORLD' | title }} {{ 'aB cD'.title() }}"


def chat(name, conversation, options=None):
    return {"name": name, "conversation": conversation, "options": options or {}}


def user(*content):
    return [{"role": "user", "content": list(content)}]


CHATS = [
    chat("prompt", ASK),
    chat("prompt to answer", ASK[:1], {"add_generation_prompt": True}),
    chat("several prompts", [ASK, ASK[:1]]),
    chat("prompt to continue", ASK, {"continue_final_message": True}),
    chat("prompt to continue, spaces trimmed", ASK, {"continue_final_message": True, "chat_template": PLAIN.replace("m.content", "m.content[0].text | trim")}),
    chat("continue without text", user(IMAGE), {"continue_final_message": True}),
    chat("continue what the template hides", ASK, {"continue_final_message": True, "chat_template": "x"}),
    chat("continue and answer", ASK, {"continue_final_message": True, "add_generation_prompt": True}),
    chat("capitals of roles", [{"role": "toolCALL", "content": [text("x")]}]),
    chat("capitals", [{"role": "toolCALL", "content": [text("x")]}], {"chat_template": CASES}),
    chat("content as a string", [{"role": "user", "content": "who are you?"}], {"add_generation_prompt": True}),
    chat("content as a string, tokenized", [{"role": "user", "content": "who are you?"}], {"tokenize": True}),
    chat("content as a string, own template", [{"role": "user", "content": "who are you?"}], {"chat_template": PLAIN}),
    chat(
        "tools, documents and variables",
        ASK,
        {"chat_template": EXTRAS, "tools": [{"name": "ruler"}], "documents": [{"title": "Sizes"}], "mood": "calm"},
    ),
    chat("tokenized", ASK, {"tokenize": True}),
    chat("tokenized to answer", ASK[:1], {"tokenize": True, "add_generation_prompt": True}),
    chat("tokenized, ids alone", ASK, {"tokenize": True, "return_dict": False}),
    chat("tokenized, assistant masks", ASK, {"tokenize": True, "return_assistant_tokens_mask": True}),
    chat("a picture", user(IMAGE, text("What is this?")), {"tokenize": True, "add_generation_prompt": True, **SMALL}),
    chat("two pictures", user(IMAGE, text("or"), {"type": "image", "image": Q}), {"tokenize": True, **SMALL}),
    chat(
        "several conversations",
        [user(IMAGE, text("What is this?")), user({"type": "image", "image": Q}, IMAGE, text("And these?"))],
        {"tokenize": True, "padding": True, "padding_side": "left", **SMALL},
    ),
    chat(
        "pictures in two turns",
        [*user(IMAGE, text("a")), {"role": "assistant", "content": [text("b")]}, *user(IMAGE, text("c"))],
        {"tokenize": True, **SMALL},
    ),
    chat(
        "a conversation of text alone in a batch",
        [user(IMAGE, text("a")), user(text("b"))],
        {"tokenize": True, "padding": True, **SMALL},
    ),
    chat("a picture without a source", user({"type": "image"}, text("a")), {"tokenize": True}),
    chat("unknown content", user({"type": "smell", "smell": "rose"}, text("a"))),
    chat("prompt with a video", user({"type": "video"}, text("What?")), {"add_generation_prompt": True}),
    chat("prompt with a video and a picture", user({"type": "image"}, {"type": "video"}, text("What?"))),
    chat(
        "a video",
        user({"type": "video", "video": V}, text("What?")),
        {"tokenize": True, "do_sample_frames": False, "video_metadata": [AT_24]},
    ),
    chat(
        "a sampled video",
        user({"type": "video", "video": ["noise", 8, 32, 48]}, text("What?")),
        {"tokenize": True, "num_frames": 3, "fps": 1, "video_metadata": [SLOW]},
    ),
    chat(
        "a video, no number of frames anywhere",
        user({"type": "video", "video": V}, text("What?")),
        {"tokenize": True, "video_metadata": [AT_24]},
    ),
]

# The ids of these are known: 1141, 876, 877, 611 and 81.
REAL_CHATS = [
    chat(
        f"describe a picture of {height}x{width}",
        user({"type": "image", "image": ["wave", height, width, 3]}, text("Can you describe this image?")),
        {"tokenize": True, "add_generation_prompt": True},
    )
    for height, width in [(40, 40), (30, 40), (40, 30), (20, 40)]
] + [
    chat(
        "describe an unsplit picture",
        user({"type": "image", "image": ["wave", 40, 40, 3]}, text("Can you describe this image?")),
        {"tokenize": True, "add_generation_prompt": True, "images_kwargs": {"do_image_splitting": False}},
    )
]

WORDS = [["red", "and", "blue"], ["What", "is", "this?"], [" spaces ", "\n", "\n", "12", "34"], ["<image>", "x"], ["don't", "'s"]]

DECODES = [[[5, 6, 70], [80, 81, 2]], [5, 6, 70], [[0, 1, 2]]]
