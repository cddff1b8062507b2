"""Training batches: packed question segments behind one picture, a function of the step number alone."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .model import IMAGE_TOKENS
from .questions import sample_questions
from .scenes import GROUNDS, PATTERNS, patch_classes, training_tile

TRAINING_SEEDS = 1_000_000_000  # training pictures have the seeds from here on; held-out ones lie far below


class Batches(torch.utils.data.Dataset):
    """Batch `step` for any step; hardness grows over the first `ramp` steps."""

    def __init__(self, tokenizer_file: Path, pictures: int, questions: int, ramp: int, visits: int):
        self.tokenizer_file, self.pictures, self.questions = str(tokenizer_file), pictures, questions
        self.ramp, self.visits = ramp, visits

    def __len__(self) -> int:
        return 1 << 40

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

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        hardness = min(1.0, 0.2 + 0.8 * step / max(self.ramp, 1))
        rows, tiles, patches, grounds = [], [], [], []
        names = list(GROUNDS)
        for i in range(self.pictures):
            seed = TRAINING_SEEDS + step * self.pictures + i
            scene, tile, rng = training_tile(seed, hardness)
            tiles.append(tile)
            patches.append(patch_classes(scene))
            codes = [names.index(g) for g in scene.grounds] + [len(names)]
            grounds.append([PATTERNS.index(scene.pattern), *codes[:2]])
            rows.append(self.pack(sample_questions(scene, self.questions, rng)))
        length = max(len(r[0]) for r in rows)
        pads = (0, 0, 99, -100)  # ids, positions, segments, targets
        ids, positions, segments, targets = (
            torch.tensor([r[k] + [pad] * (length - len(r[k])) for r in rows]) for k, pad in enumerate(pads)
        )
        return {
            "pixels": torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).contiguous(),
            "patches": torch.from_numpy(np.stack(patches)),
            "ground": torch.tensor(grounds),
            "ids": ids, "positions": positions, "segments": segments, "targets": targets,
            "image_start": torch.tensor(self.prefix.index(self.encode("<image>")[0])),
        }

    def pack(self, asked: list[tuple[str, str, str]]) -> tuple[list[int], list[int], list[int], list[int]]:
        ids = list(self.prefix)
        positions, segments, targets = list(range(len(ids))), [0] * len(ids), [-100] * len(ids)
        for number, (_, question, answer) in enumerate(asked, 1):
            head = self.encode(f"{question}<end_of_utterance>\nAssistant:")
            tail = self.encode(f" {answer}<end_of_utterance>")
            # the last head token predicts the first answer token, and so on; the closing token itself predicts nothing
            ids += head + tail[:-1]
            span = len(head) + len(tail) - 1
            positions += range(len(self.prefix), len(self.prefix) + span)
            segments += [number] * span
            targets += [-100] * (len(head) - 1) + tail
        return ids, positions, segments, targets
