"""Questions about a scene, each with the one right answer. Ten kinds, each in several wordings."""

from __future__ import annotations

import numpy as np

from .scenes import COLOURS, SHAPES, Scene, Thing

KINDS = ("describe", "list", "count", "relation", "place", "colour", "shape", "background", "exists", "extreme")

DESCRIBE = (
    "Describe the picture.", "Describe this picture.", "Describe this image.", "Describe the image.",
    "Can you describe this image?", "What is in this image?", "What do you see in the picture?",
    "What does the picture show?",
)
LIST = (
    "Which shapes are there?", "What shapes do you see?", "List the shapes.", "List the shapes from left to right.",
    "Name the shapes in the picture.", "Which coloured shapes are in the picture?",
)
COUNT = (
    "How many {} are there?", "How many {} do you see?", "How many {} are in the picture?", "Count the {}.",
    "What is the number of {}?",
)
RELATION = (
    "Where is the {a} relative to the {b}?", "Where is the {a} compared to the {b}?",
    "Seen from the {b}, where is the {a}?", "On which side of the {b} is the {a}?",
)
SIDEWAYS = ("Is the {a} left or right of the {b}?", "Is the {a} to the left or to the right of the {b}?")
UPDOWN = ("Is the {a} above or below the {b}?", "Is the {a} higher or lower than the {b}?")
YES_NO = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
PLACE = (
    "Where is the {}?", "Where in the picture is the {}?", "In which corner is the {}?", "Where do you see the {}?",
)
COLOUR = (
    "What colour is the {}?", "What color is the {}?", "Which colour does the {} have?", "Name the colour of the {}.",
    "What is the color of the {}?",
)
SHAPE = (
    "What shape is {}?", "Which shape is {}?", "What is {}?", "Which {} shape is there?", "What is the {} shape?",
)
BACKGROUND = (
    "What is on the background?", "What is in the background?", "Describe the background.",
    "What does the background look like?", "What is the background?", "Which pattern does the background have?",
)
EXISTS = ("Is there {}?", "Do you see {}?", "Does the picture show {}?", "Can you see {} in the picture?")
EXTREME = {
    "left": ("Which shape is furthest to the left?", "What is the leftmost shape?", "What is on the far left?"),
    "right": ("Which shape is furthest to the right?", "What is the rightmost shape?", "What is on the far right?"),
    "top": ("Which shape is highest?", "What is the topmost shape?", "What is at the very top?"),
    "bottom": ("Which shape is lowest?", "What is the lowest shape?", "What is at the very bottom?"),
}
NUMBERS = ("None.", "One.", "Two.", "Three.", "Four.")
MIN_APART = 0.14  # in fractions of the picture, for left/right and above/below
MIN_LEAN = 1.8  # how much longer one axis must be for "to the left" to be the whole answer


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _listing(things: list[Thing]) -> str:
    names = [article(t.name) for t in things]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def background_answer(scene: Scene) -> str:
    g = scene.grounds
    if scene.pattern == "plain":
        return _sentence(f"plain {g[0]}")
    return _sentence(f"{g[1]} dots on {g[0]}" if scene.pattern == "dots" else f"{g[0]} and {g[1]} {scene.pattern}")


def description(scene: Scene) -> str:
    g = scene.grounds
    ground = {
        "plain": f"a plain {g[0]} background",
        "stripes": f"{g[0]} and {g[-1]} stripes",
        "checks": f"{g[0]} and {g[-1]} checks",
        "dots": f"{g[-1]} dots on {g[0]}",
    }[scene.pattern]
    link = " over " if scene.pattern == "dots" else " on "
    return _sentence(_listing(scene.things) + link + ground)


def _pick(rng: np.random.Generator, options):
    return options[int(rng.integers(len(options)))]


def ask(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """A (question, answer) of this kind, or None where the scene allows none without ambiguity."""
    things = scene.things
    unique = [t for t in things if sum(o.name == t.name for o in things) == 1]
    if kind == "describe":
        return _pick(rng, DESCRIBE), description(scene)
    if kind == "list":
        return _pick(rng, LIST), _sentence(_listing(things))
    if kind == "background":
        return _pick(rng, BACKGROUND), background_answer(scene)
    if kind == "count":
        return _count(things, rng)
    if kind == "relation":
        return _relation(scene, unique, rng)
    if kind == "place":
        corners = [(t, v, h) for t in unique
                   if (v := _third(t.y, "top", "bottom")) and (h := _third(t.x, "left", "right"))]
        if not corners:
            return None
        t, v, h = _pick(rng, corners)
        return _pick(rng, PLACE).format(t.name), f"At the {v} {h}."
    if kind == "colour":
        lone = [t for t in things if sum(o.shape == t.shape for o in things) == 1]
        if not lone:
            return None
        t = _pick(rng, lone)
        return _pick(rng, COLOUR).format(t.shape), _sentence(t.colour)
    if kind == "shape":
        lone = [t for t in things if sum(o.colour == t.colour for o in things) == 1]
        if not lone:
            return None
        t = _pick(rng, lone)
        return _pick(rng, SHAPE).format(t.colour), _sentence(article(t.shape))
    if kind == "exists":
        return _exists(things, rng)
    return _extreme(things, rng)


def _third(value: float, low: str, high: str) -> str | None:
    return low if value < 0.42 else high if value > 0.58 else None


def _count(things: list[Thing], rng: np.random.Generator) -> tuple[str, str]:
    roll = rng.random()
    if roll < 0.34:
        what, number = "shapes", len(things)
    elif roll < 0.70:
        shape = _pick(rng, things).shape if rng.random() < 0.7 else _pick(rng, SHAPES)
        plural = shape + ("es" if shape.endswith("s") else "s")
        what, number = plural, sum(t.shape == shape for t in things)
    else:
        colour = _pick(rng, things).colour if rng.random() < 0.7 else _pick(rng, list(COLOURS))
        what, number = f"{colour} shapes", sum(t.colour == colour for t in things)
    return _pick(rng, COUNT).format(what), NUMBERS[number]


def _relation(scene: Scene, unique: list[Thing], rng: np.random.Generator) -> tuple[str, str] | None:
    if len(unique) < 2:
        return None
    i, j = rng.choice(len(unique), 2, replace=False)
    a, b = unique[i], unique[j]
    dx, dy = a.x - b.x, a.y - b.y
    across, along = abs(dx) >= MIN_APART, abs(dy) >= MIN_APART
    side, level = ("left" if dx < 0 else "right"), ("above" if dy < 0 else "below")
    names = {"a": a.name, "b": b.name}
    aspect = scene.width / scene.height
    lean_x = across and min(abs(dx), abs(dx) * aspect) >= MIN_LEAN * abs(dy)
    lean_y = along and min(abs(dy), abs(dy) / aspect) >= MIN_LEAN * abs(dx)
    forms = []
    if lean_x or lean_y:
        forms += ["where"] * 2
    forms += ["sideways"] * across + ["updown"] * along + ["yes"] * (across or along)
    if not forms:
        return None
    form = _pick(rng, forms)
    if form == "where":
        return _pick(rng, RELATION).format(**names), f"To the {side}." if lean_x else _sentence(level)
    if form == "sideways":
        return _pick(rng, SIDEWAYS).format(**names), _sentence(side)
    if form == "updown":
        question = _pick(rng, UPDOWN)
        words = {"above": "higher", "below": "lower"} if "higher" in question else {"above": "above", "below": "below"}
        return question.format(**names), _sentence(words[level])
    claims = (["left", "right"] if across else []) + (["above", "below"] if along else [])
    claim = _pick(rng, claims)
    return f"Is the {a.name} {YES_NO[claim]} the {b.name}?", "Yes." if claim in (side, level) else "No."


def _exists(things: list[Thing], rng: np.random.Generator) -> tuple[str, str]:
    there = {(t.colour, t.shape) for t in things}
    if rng.random() < 0.5:
        colour, shape = sorted(there)[int(rng.integers(len(there)))]
    else:  # half of the false ones share a colour or a shape with something that is there
        while True:
            colour = _pick(rng, things).colour if rng.random() < 0.5 else _pick(rng, list(COLOURS))
            shape = _pick(rng, things).shape if rng.random() < 0.5 else _pick(rng, SHAPES)
            if (colour, shape) not in there:
                break
    return _pick(rng, EXISTS).format(article(f"{colour} {shape}")), "Yes." if (colour, shape) in there else "No."


def _extreme(things: list[Thing], rng: np.random.Generator) -> tuple[str, str] | None:
    if len(things) < 2:
        return None
    sides = ["left", "right"]
    levels = sorted(things, key=lambda t: t.y)
    if levels[1].y - levels[0].y >= 0.1:
        sides.append("top")
    if levels[-1].y - levels[-2].y >= 0.1:
        sides.append("bottom")
    side = _pick(rng, sides)
    thing = {"left": things[0], "right": things[-1], "top": levels[0], "bottom": levels[-1]}[side]
    return _pick(rng, EXTREME[side]), f"The {thing.name}."


# How often training asks each kind: what is learned last is asked most.
SHARES = {"describe": 0.5, "list": 0.5, "count": 1.3, "relation": 1.8, "place": 1.4, "colour": 1.4, "shape": 0.5,
          "background": 0.15, "exists": 1.2, "extreme": 1.1}


def sample_questions(scene: Scene, count: int, rng: np.random.Generator, even: bool = False) -> list[tuple[str, str, str]]:
    """`count` different (kind, question, answer); even: every kind in turn before one comes again."""
    found: dict[str, tuple[str, str, str]] = {}
    shares = np.array(list(SHARES.values())) / sum(SHARES.values())
    while len(found) < count:
        for kind in rng.permutation(KINDS) if even else rng.choice(KINDS, count, p=shares):
            pair = ask(scene, str(kind), rng)
            if pair and len(found) < count:
                found.setdefault(pair[0], (str(kind), *pair))
    return list(found.values())
