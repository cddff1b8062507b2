"""Trains the embedded demo checkpoint, a small SmolVLM that answers questions about pictures of coloured shapes.

    python train_demo.py train --run RUN --steps 6000 --decay 1800     start, or go on where RUN/run.state.pt stopped
    python train_demo.py train --run RUN --weights-of FOLDER --chats 0.5 --device cuda --threads 1 --workers 16
                                                                       the same from a checkpoint, half the rows conversations
    python train_demo.py look --run RUN --steps 1500                   lessons for the vision tower alone, in between
    python train_demo.py export --run RUN --out FOLDER                 the averaged weights, rounded to F16
    python train_demo.py evaluate --model FOLDER [--report FILE]       500 held-out pictures through transformers
    python train_demo.py fixtures --model FOLDER --out FOLDER          200 of them as files, with the model's answers
    python train_demo.py pictures --out FOLDER                         the three pictures of the examples

The learning rate is constant after a warm-up and falls to zero over the last --decay steps, or over --ending minutes
to the clock time --until. A file named stop in RUN ends `train` at the next step with its state saved, SIGTERM ends
`look`; started again, a run goes on where it stopped, with other settings if wished. Every batch is a function of its
step number. Held-out pictures have the seeds 0..499, validation during training 100000..100191, training 1000000000
and above. The checkpoint's README tells how the committed weights came about.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import distributed, multiprocessing

from demo.batches import Batches, Views
from demo.evaluate import evaluate, write_fixtures
from demo.export import export
from demo.model import CONTEXT, IMAGE_TOKENS, SIDE, TILE, Muon, Trainee, configuration
from demo.pictures import write_pictures
from demo.questions import KINDS, sample_questions
from demo.scenes import picture_file, tile_of_file
from demo.vocabulary import VOCABULARY, build_tokenizer, write_processor_files

PICTURES, QUESTIONS, WARM_UP, RAMP = 48, 6, 100, 500
VISION_RATE, TEXT_RATE, LOOK_RATE, ADAM_RATE, AVERAGING = 0.004, 0.016, 0.01, 2e-3, 0.998
VALIDATION_SEEDS = range(100_000, 100_192)
COLUMNS = ("step", "minutes", "rate", "loss", "dense", "ground", "patch_shape", "patch_colour", "token", "exact",
           "validation_exact", "centre", "guidance")


@dataclass
class Schedule:
    """A constant rate after a warm-up, falling to zero over the last `decay` steps, or over `ending` minutes to a clock
    time: on a shared machine it is the clock that ends a run."""

    steps: int
    decay: int
    full: float = 1.0  # of the rates below
    until: float | None = None  # seconds since the epoch
    ending: float = 15.0

    def rate(self, step: int) -> float:
        left = (self.steps - step) / max(self.decay, 1)
        if self.until is not None:
            left = min(left, (self.until - time.time()) / 60 / self.ending)
        return self.full * min(1.0, (step + 1) / WARM_UP) * min(1.0, max(0.0, left))


@dataclass
class Lessons:
    """What is taught, to which weights, where."""

    weights_of: Path | None = None  # a checkpoint to begin with; without hardness growing from nothing
    chats: float = 0.0  # share of the rows whose questions are the turns of one conversation
    device: str = "cpu"
    workers: int = 1  # that draw; a block of pictures is visited again by the worker that drew it


def build(tokenizer_folder: Path) -> Trainee:
    torch.manual_seed(20)
    tokenizer_folder.mkdir(parents=True, exist_ok=True)
    write_processor_files(tokenizer_folder, TILE, IMAGE_TOKENS, CONTEXT)
    trainee = Trainee(configuration(VOCABULARY, build_tokenizer().get_vocab()))
    check_places(trainee)
    return trainee


@torch.no_grad()
def check_places(trainee: Trainee) -> None:
    """The training pass must see what the reference's own vision forward sees."""
    pixels = torch.rand(1, 3, TILE, TILE)
    whole = trainee.vlm.model.vision_model(pixels, torch.ones(1, SIDE, SIDE, dtype=torch.bool)).last_hidden_state
    assert torch.equal(whole, trainee.see(pixels)), "position ids differ from the reference's"


def validation(batches: Batches, joined: bool) -> tuple[list, list[list[str]]]:
    made, kinds = [], []
    for seed in VALIDATION_SEEDS:
        scene, _, data, rng = picture_file(seed)
        made.append((scene, tile_of_file(data), sample_questions(scene, len(KINDS), rng, even=True)))
        kinds.append([kind for kind, _, _ in made[-1][2]])
    return [batches.collate(made[i : i + 48], np.full(48, joined)) for i in range(0, len(made), 48)], kinds


def on(device: str, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.to(device, non_blocking=True) for k, v in batch.items()}


@torch.no_grad()
def validate(trainee: Trainee, averaged: dict, batches: list, kinds: list[list[str]]) -> tuple[float, str]:
    """Exact answers of the averaged weights in float32, all and by kind."""
    own = {k: v.clone() for k, v in trainee.state_dict().items()}
    trainee.load_state_dict(averaged)
    flags = []
    for batch in batches:
        trainee(on(trainee.places.device, batch))
        flags += trainee.exact.tolist()
    trainee.load_state_dict(own)
    by_kind = {k: [] for k in KINDS}
    for row, names in zip(flags, kinds):
        for number, kind in enumerate(names, 1):
            by_kind[kind].append(row[number])
    everything = [f for fs in by_kind.values() for f in fs]
    return sum(everything) / len(everything), " ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in by_kind.items())


def share(params: list[torch.nn.Parameter], world: int, rate: float, stopping: bool) -> tuple[float, bool]:
    """Averages the gradients and the rate over the processes; stops all when one was asked to."""
    if world == 1:
        return rate, stopping
    flat = torch.cat([p.grad.flatten() for p in params] + [torch.tensor([rate, float(stopping)])])
    distributed.all_reduce(flat)
    start = 0
    for p in params:
        p.grad.copy_(flat[start : start + p.numel()].view_as(p)).div_(world)
        start += p.numel()
    return flat[-2].item() / world, flat[-1].item() > 0


def train(rank: int, world: int, run: Path, schedule: Schedule, lessons: Lessons) -> None:
    """One of `world` processes with a thread each: on a busy machine they wait for one another once a step only."""
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group("gloo", init_method=f"file://{run.resolve()}/meeting", rank=rank, world_size=world)
    trainee, steps = build(run), schedule.steps
    if lessons.weights_of:
        weights = load_file(lessons.weights_of / "model.safetensors")
        trainee.vlm.load_state_dict({k: v.float() for k, v in weights.items()})
    trainee.to(lessons.device)
    hidden, rest, names = [], [], []
    for name, p in trainee.named_parameters():
        matrix = p.ndim == 2 and ("layers" in name or "connector" in name)
        (hidden if matrix else rest).append(p)
        names += [name] * matrix
    towers = [[p for n, p in zip(names, hidden) if ("text_model" in n) == text] for text in (False, True)]
    muon = Muon([{"params": ps, "full": rate} for ps, rate in zip(towers, (VISION_RATE, TEXT_RATE))])
    adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    averaged = {k: v.clone() for k, v in trainee.state_dict().items()}
    first, minutes, state_file = 0, 0.0, run / "run.state.pt"
    if state_file.exists():
        state = torch.load(state_file, map_location=lessons.device)
        trainee.load_state_dict(state["trainee"])
        averaged = state["averaged"]
        adam.load_state_dict(state["adam"])
        for p, momentum in zip(hidden, state["muon"]):
            muon.state[p]["momentum"] = momentum
        first, minutes = state["step"], state["minutes"]
        print(f"going on at step {first}", flush=True)

    ramp = 0 if lessons.weights_of else RAMP
    batches = Batches(run / "tokenizer.json", PICTURES // world, QUESTIONS, ramp, rank, world, max(16, lessons.workers),
                      lessons.chats)
    check, kinds = validation(batches, False) if rank == 0 else ([], [])
    talk, _ = validation(batches, True) if rank == 0 and lessons.chats else ([], [])
    loader = iter(torch.utils.data.DataLoader(
        batches, batch_size=None, sampler=range(first, steps), num_workers=lessons.workers, prefetch_factor=6))
    began, saved, sums, count = time.time() - 60 * minutes, time.time(), {}, 0

    def save(step: int) -> None:
        state = {"trainee": trainee.state_dict(), "averaged": averaged, "adam": adam.state_dict(),
                 "muon": [muon.state[p]["momentum"] for p in hidden], "step": step, "minutes": (time.time() - began) / 60}
        torch.save(state, state_file.with_suffix(".new"))
        os.replace(state_file.with_suffix(".new"), state_file)

    for step in range(first, steps):
        batch = on(lessons.device, next(loader))
        with torch.autocast(lessons.device, torch.bfloat16):
            language, probes, report = trainee(batch)
        (language + 0.4 * probes).backward()
        rate = schedule.rate(step)
        rate, stop = share([*hidden, *rest], world, rate, rate == 0 or (run / "stop").exists())
        for group in [*muon.param_groups, *adam.param_groups]:
            group["lr"] = group.get("full", ADAM_RATE) * rate
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        muon.step()
        adam.step()
        trainee.zero_grad()
        keep = min(AVERAGING, (step + 1) / (step + 10))
        for k, v in trainee.state_dict().items():
            averaged[k].lerp_(v, 1 - keep)

        if rank > 0:
            if stop:
                return
            continue
        for k, v in report.items():
            sums[k] = sums.get(k, 0.0) + v
        count += 1
        done = step + 1
        if done % 50 == 0 or done == steps or stop:
            row = {k: f"{v / count:.4f}" for k, v in sums.items()}
            row |= {"step": done, "minutes": f"{(time.time() - began) / 60:.2f}", "rate": f"{rate:.3f}"}
            if done % 300 == 0 or done == steps or stop:
                exact, detail = validate(trainee, averaged, check, kinds)
                row["validation_exact"] = f"{exact:.4f}"
                print(f"  validation {exact:.4f}: {detail}", flush=True)
                if talk:
                    exact, detail = validate(trainee, averaged, talk, kinds)
                    print(f"  conversations {exact:.4f}: {detail}", flush=True)
            log = run / "training-log.csv"
            fresh = not log.exists()
            with log.open("a", newline="") as f:
                writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
            print(" ".join(f"{k} {row[k]}" for k in COLUMNS if k in row), flush=True)
            sums, count = {}, 0
        if time.time() - saved > 120 or done == steps or stop:
            save(done)
            saved = time.time()
        if stop:
            return


def look(run: Path, steps: int, threads: int) -> None:
    """Lessons for the vision tower alone, between two stretches of `train`: without the text a picture costs a fifth."""
    torch.set_num_threads(threads)
    state_file = run / "run.state.pt"
    state = torch.load(state_file)
    trainee = build(run)
    trainee.load_state_dict(state["trainee"])
    vision = list(trainee.vlm.model.vision_model.named_parameters())
    muon = Muon([p for n, p in vision if p.ndim == 2 and "layers" in n], lr=LOOK_RATE)
    rest = [p for n, p in vision if not (p.ndim == 2 and "layers" in n)]
    rest += [*trainee.patch_probe.parameters(), *trainee.ground_probe.parameters()]
    adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    loader = iter(torch.utils.data.DataLoader(
        Views(64), batch_size=None, sampler=range(steps), num_workers=1, prefetch_factor=8))
    began, sums = time.time(), {}

    def save() -> None:
        done = state | {"trainee": trainee.state_dict(), "averaged": trainee.state_dict(),
                        "minutes": state["minutes"] + (time.time() - began) / 60}
        torch.save(done, state_file.with_suffix(".new"))
        os.replace(state_file.with_suffix(".new"), state_file)

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    for step in range(steps):
        batch = next(loader)
        rate = min(1.0, (step + 1) / 50) * min(1.0, 0.2 + 1.6 * (1 - step / steps))
        for optimizer, full in ((muon, LOOK_RATE), (adam, ADAM_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        with torch.autocast("cpu", torch.bfloat16):
            dense, ground, report = trainee.probe(trainee.see(batch["pixels"].float() / 127.5 - 1), batch)
        (dense + 0.3 * ground).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        muon.step()
        adam.step()
        trainee.zero_grad()
        for k, v in report.items():
            sums[k] = sums.get(k, 0.0) + v
        if (step + 1) % 100 == 0:
            print(f"look {step + 1} minutes {(time.time() - began) / 60:.2f} "
                  + " ".join(f"{k} {v / 100:.4f}" for k, v in sums.items()), flush=True)
            sums = {}
        if stopping:
            break
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "look", "export", "evaluate", "fixtures", "pictures"])
    parser.add_argument("--run", type=Path, default=Path("demo-run"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--weights", choices=["averaged", "trainee"], default="averaged", help="which to export")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decay", type=int, default=1800)
    parser.add_argument("--until", help="clock time, HH:MM, by which `train` ends")
    parser.add_argument("--ending", type=float, default=15.0, help="minutes of falling rate before --until")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights-of", type=Path, help="a checkpoint that `train` begins with")
    parser.add_argument("--chats", type=float, default=0.0, help="share of the rows that are conversations")
    parser.add_argument("--rate", type=float, default=1.0, help="of the full learning rates")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw, for each trainer")
    options = parser.parse_args()
    if options.what == "train":
        options.run.mkdir(parents=True, exist_ok=True)
        for leftover in ("meeting", "stop"):
            (options.run / leftover).unlink(missing_ok=True)
        until = None
        if options.until:
            clock = datetime.datetime.strptime(options.until, "%H:%M").time()
            until = datetime.datetime.combine(datetime.date.today(), clock).timestamp()
        schedule = Schedule(options.steps, options.decay, options.rate, until, options.ending)
        lessons = Lessons(options.weights_of, options.chats, options.device, options.workers)
        arguments = (options.threads, options.run, schedule, lessons)
        if options.threads == 1:
            train(0, *arguments)
        else:
            multiprocessing.start_processes(train, arguments, nprocs=options.threads, start_method="fork")
    elif options.what == "look":
        look(options.run, options.steps, options.threads)
    elif options.what == "export":
        export(options.run, options.out, options.weights)
    elif options.what == "evaluate":
        evaluate(options.model, options.report)
    elif options.what == "pictures":
        write_pictures(options.out)
    else:
        write_fixtures(options.model, options.out)


if __name__ == "__main__":
    main()
