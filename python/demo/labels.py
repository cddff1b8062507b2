"""What training tells the model about a scene beside answers: which patch shows what, and where things are."""

from __future__ import annotations

import math

import numpy as np

from .scenes import COLOURS, SHAPES, Scene, Thing


def patch_classes(scene: Scene, side: int = 8) -> np.ndarray:
    """Per patch of the model's view, [side * side, 2]: shape and colour there (0: background), 1 + index otherwise.

    A patch belongs to the thing that covers its centre or, failing that, holds the thing's own centre.
    """
    out = np.zeros((side, side, 2), np.int64)
    centres = (np.arange(side) + 0.5) / side
    fraction = math.sqrt(scene.width * scene.height)
    for t in scene.things:
        code = (1 + SHAPES.index(t.shape), 1 + list(COLOURS).index(t.colour))
        dx = (centres[None] - t.x) * scene.width / fraction
        dy = (centres[:, None] - t.y) * scene.height / fraction
        out[np.hypot(dx, dy) < t.radius * 0.95] = code
        out[min(int(t.y * side), side - 1), min(int(t.x * side), side - 1)] = code
    return out.reshape(-1, 2)


def patch_offsets(scene: Scene, side: int = 8) -> np.ndarray:
    """Per patch [side * side, 3]: 1 where a thing's centre lies, and the way to it in patches (x, y) where one covers it."""
    out = np.zeros((side, side, 3), np.float32)
    centres = (np.arange(side) + 0.5) / side
    fraction = math.sqrt(scene.width * scene.height)
    grid = np.stack(np.broadcast_arrays(centres[None], centres[:, None]), -1)
    for t in scene.things:
        away = (np.array([t.x, t.y]) - grid) * side
        dx, dy = away[..., 0] / side * scene.width / fraction, away[..., 1] / side * scene.height / fraction
        covered = np.hypot(dx, dy) < t.radius * 0.95
        row, column = min(int(t.y * side), side - 1), min(int(t.x * side), side - 1)
        covered[row, column] = True
        out[covered, 1:] = away[covered]
        out[row, column, 0] = 1
    return out.reshape(-1, 3)


def image_cells(scene: Scene, thing: Thing, side: int = 8, scale: int = 2) -> np.ndarray:
    """Which image tokens [(side / scale) ** 2] show the middle of a thing."""
    centres = (np.arange(side) + 0.5) / side
    fraction = math.sqrt(scene.width * scene.height)
    dx = (centres[None] - thing.x) * scene.width / fraction
    dy = (centres[:, None] - thing.y) * scene.height / fraction
    inside = np.hypot(dx, dy) < thing.radius * 0.6
    inside[min(int(thing.y * side), side - 1), min(int(thing.x * side), side - 1)] = True
    cells = side // scale
    return inside.reshape(cells, scale, cells, scale).any((1, 3)).ravel()
