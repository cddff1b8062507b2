"""Training batches: packed question segments behind one picture, a function of the step number alone."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .labels import image_cells, patch_classes, patch_offsets
from .model import IMAGE_TOKENS
from .questions import sample_questions
from .scenes import COLOURS, GROUNDS, PATTERNS, SHAPES, Scene, training_tile

TRAINING_SEEDS = 1_000_000_000  # training pictures have the seeds from here on; held-out ones lie far below
VIEW_SEEDS = 2_000_000_000


class Batches(torch.utils.data.Dataset):
    """Batch `step`, for any step. Hardness grows over the first `ramp` steps.

    Drawing costs more than asking, so a block of `block` batches is visited twice, with other questions. Of `world`
    trainers each draws its own share.
    """

    def __init__(self, tokenizer_file: Path, pictures: int, questions: int, ramp: int, rank: int = 0, world: int = 1,
                 block: int = 16, chats: float = 0.0):
        self.tokenizer_file, self.pictures, self.questions = str(tokenizer_file), pictures, questions
        self.ramp, self.block, self.rank, self.world, self.chats = ramp, block, rank, world, chats
        self.drawn: dict[int, list] = {}

    def __len__(self) -> int:
        return 1 << 40

    def draw(self, number: int, hardness: float) -> list:
        """The pictures of drawn batch `number`, kept until a later block begins."""
        if number not in self.drawn:
            first = number - number % self.block
            self.drawn = {k: v for k, v in self.drawn.items() if k >= first}
            start = TRAINING_SEEDS + (number * self.world + self.rank) * self.pictures
            self.drawn[number] = [training_tile(start + i, hardness)[:2] for i in range(self.pictures)]
        return self.drawn[number]

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        hardness = min(1.0, 0.2 + 0.8 * step / max(self.ramp, 1))
        number = step // (2 * self.block) * self.block + step % self.block
        rng = np.random.default_rng([TRAINING_SEEDS, step, self.rank])
        samples = [(*d, sample_questions(d[0], self.questions, rng)) for d in self.draw(number, hardness)]
        return self.collate(samples, rng.random(len(samples)) < self.chats)

    def collate(self, samples: list, joined: np.ndarray) -> dict[str, torch.Tensor]:
        """[(scene, tile, questions)] -> one packed batch. The questions of a joined row are the turns of one conversation."""
        names = list(GROUNDS)
        rows = [self.pack(asked, joined[row]) for row, (_, _, asked) in enumerate(samples)]
        focus, cells, links = [], [], []
        for row, (scene, _, asked) in enumerate(samples):
            found, linked = self.references(scene, asked, joined[row])
            for position, layer, shown in found:
                focus.append((row, position, layer))
                cells.append(shown)
            links += [(row, *link) for link in linked]
        grounds = [
            [PATTERNS.index(s.pattern), *([names.index(g) for g in s.grounds] + [len(names)])[:2]] for s, _, _ in samples
        ]
        length = max(len(r[0]) for r in rows)
        pads = (0, 0, 99, -100)  # ids, positions, segments, targets
        ids, positions, segments, targets = (
            torch.tensor([r[k] + [pad] * (length - len(r[k])) for r in rows]) for k, pad in enumerate(pads)
        )
        return {
            "pixels": torch.from_numpy(np.stack([t for _, t, _ in samples])).permute(0, 3, 1, 2).contiguous(),
            "patches": torch.from_numpy(np.stack([patch_classes(s) for s, _, _ in samples])),
            "offsets": torch.from_numpy(np.stack([patch_offsets(s) for s, _, _ in samples])),
            "ground": torch.tensor(grounds),
            "ids": ids,
            "positions": positions,
            "segments": segments,
            "joined": torch.from_numpy(joined),
            "targets": targets,
            "focus": torch.tensor(focus),
            "links": torch.tensor(links).view(-1, 4),
            "cells": torch.from_numpy(np.stack(cells)),
            "image_start": torch.tensor(self.prefix.index(self.encode("<image>")[0])),
        }

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(self.tokenizer_file)

    @functools.cached_property
    def prefix(self) -> list[int]:
        around = "<fake_token_around_image>"
        return self.encode(f"<|im_start|>User:{around}<global-img>{'<image>' * IMAGE_TOKENS}{around}")

    @functools.lru_cache(maxsize=200_000)
    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids

    def turn(self, question: str, answer: str, later: bool) -> tuple[list[int], list[int]]:
        """What leads to an answer, and the answer; a later turn of a conversation begins with the end of the one before."""
        before = "<end_of_utterance>\nUser: " if later else ""
        return (self.encode(f"{before}{question}<end_of_utterance>\nAssistant:"),
                self.encode(f" {answer}<end_of_utterance>"))

    def pack(self, asked: list[tuple[str, str, str]],
             joined: bool) -> tuple[list[int], list[int], list[int], list[int]]:
        ids = list(self.prefix)
        positions, segments, targets = list(range(len(ids))), [0] * len(ids), [-100] * len(ids)
        for number, (_, question, answer) in enumerate(asked, 1):
            head, tail = self.turn(question, answer, joined and number > 1)
            # the last head token predicts the first answer token, and so on; the closing token itself predicts nothing
            start = len(ids) if joined else len(self.prefix)
            ids += head + tail[:-1]
            span = len(head) + len(tail) - 1
            positions += range(start, start + span)
            segments += [number] * span
            targets += [-100] * (len(head) - 1) + tail
        return ids, positions, segments, targets

    @functools.cached_property
    def words(self) -> tuple[dict[int, str], dict[int, str]]:
        """Token ids of colour names, and of shape names in both numbers."""
        colours = {self.encode(f" {c}")[0]: c for c in COLOURS}
        shapes = {self.encode(f" {s}")[0]: s for s in SHAPES}
        shapes |= {self.encode(f" {s}{'es' if s.endswith('s') else 's'}")[0]: s for s in SHAPES}
        return colours, shapes

    def references(self, scene: Scene, asked: list[tuple[str, str, str]], joined: bool) -> tuple[list, list]:
        """Tokens that speak of things, [(position in the packed row, decoder layer, image tokens that show them)], and
        the way from where an answer begins to the names in its question, [(position, head, the name's position)].

        In a question this is the word that completes the name, looked up in layer 1; in an answer that lists things the
        tokens that lead to the colour and to the shape, looked up in layer 2.
        """
        colours, shapes = self.words
        shown = [image_cells(scene, t) for t in scene.things]
        found, links, start = [], [], len(self.prefix)
        for number, (kind, question, answer) in enumerate(asked):
            head, tail = self.turn(question, answer, joined and number > 0)
            names = []
            for i, token in enumerate(head):
                before = colours.get(head[i - 1]) if i else None
                if token in shapes:
                    named = [c for t, c in zip(scene.things, shown)
                             if t.shape == shapes[token] and before in (None, t.colour)]
                elif token in colours and head[i + 1] not in shapes:
                    named = [c for t, c in zip(scene.things, shown) if t.colour == colours[token]]
                else:
                    continue
                names.append(start + i)
                if named:
                    found.append((start + i, 1, np.logical_or.reduce(named)))
            first = start + len(head)
            if names:
                links += [(first - 1, 0, names[0]), (first - 1, 1, names[-1])]
            if kind in ("describe", "list"):
                ends = [i for i, token in enumerate(tail) if token in shapes][: len(shown)]
                for i, c in zip(ends, shown):
                    found += [(first + i - 1 - back, 2, c) for back in range(3)]
            elif kind == "extreme":
                thing = next(c for t, c in zip(scene.things, shown) if answer == f"The {t.name}.")
                found += [(first + i, 2, thing) for i in range(2)]
            start = first + len(tail) - 1
        return found, links


class Views(torch.utils.data.Dataset):
    """Batches of pictures alone, with their patch classes, for the vision tower's own lessons.

    Each drawn block is visited four times, turned and mirrored: patch classes turn with their picture.
    """

    def __init__(self, pictures: int, block: int = 16, visits: int = 4):
        self.pictures, self.block, self.visits = pictures, block, visits
        self.drawn: dict[int, list] = {}

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        number = step // (self.visits * self.block) * self.block + step % self.block
        if number not in self.drawn:
            first = number - number % self.block
            self.drawn = {k: v for k, v in self.drawn.items() if k >= first}
            start = VIEW_SEEDS + number * self.pictures
            self.drawn[number] = [training_tile(start + i, 1.0)[:2] for i in range(self.pictures)]
        rng = np.random.default_rng([VIEW_SEEDS, step])
        names = list(GROUNDS)
        pixels, patches, grounds = [], [], []
        for scene, tile in self.drawn[number]:
            turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
            classes = patch_classes(scene)
            side = int(len(classes) ** 0.5)
            for array, into in ((tile, pixels), (classes.reshape(side, side, 2), patches)):
                array = np.rot90(array, turns)
                into.append(np.ascontiguousarray(array[:, ::-1] if mirrored else array))
            grounds.append([PATTERNS.index(scene.pattern), *([names.index(g) for g in scene.grounds] + [len(names)])[:2]])
        return {
            "pixels": torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(),
            "patches": torch.from_numpy(np.stack(patches)).flatten(1, 2),
            "ground": torch.tensor(grounds),
        }
