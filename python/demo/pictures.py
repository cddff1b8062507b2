"""The three pictures that the examples use: larger and tidier than the training ones, made the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .scenes import COLOURS, GROUNDS, Scene, Thing, _colour, draw, spoil

# file: (seed, width, height, pattern, grounds, things as (colour, shape, x, y, radius, angle), how much it is spoilt)
PICTURES = {
    "shapes-on-blue.png": (11, 480, 360, "plain", ["light blue"], [
        ("red", "star", 0.19, 0.30, 0.165, -8), ("yellow", "circle", 0.50, 0.66, 0.17, 0),
        ("purple", "triangle", 0.81, 0.33, 0.16, 6)], 0.0),
    "shapes-on-stripes.jpg": (12, 420, 420, "stripes", ["white", "pink"], [
        ("green", "ring", 0.27, 0.70, 0.17, 0), ("blue", "square", 0.70, 0.30, 0.16, 14)], 0.6),
    "shapes-on-checks.jpg": (13, 360, 460, "checks", ["white", "light green"], [
        ("orange", "cross", 0.24, 0.24, 0.15, 10), ("black", "star", 0.42, 0.72, 0.165, -5),
        ("purple", "circle", 0.72, 0.40, 0.15, 0), ("red", "triangle", 0.80, 0.78, 0.14, -12)], 0.8),
}


def write_pictures(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, (seed, width, height, pattern, grounds, things, strength) in PICTURES.items():
        rng = np.random.default_rng(seed)
        made = [Thing(shape, colour, x, y, radius, angle, _colour(rng, COLOURS[colour]))
                for colour, shape, x, y, radius, angle in things]
        scene = Scene(width, height, pattern, grounds, [_colour(rng, GROUNDS[g]) for g in grounds], made)
        picture = draw(scene, rng)
        if strength:
            picture = spoil(picture, rng, strength)
        picture.save(out / name, **({"quality": 88} if name.endswith("jpg") else {"optimize": True}))
