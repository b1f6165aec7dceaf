"""A training step of ours beside plain PyTorch: CPU seconds on one thread, in turns; and how long a run waits for data.

Ours is the loop's own step with bfloat16 and channels-last weights, as the recipes for published sizes have it. The
peer computes the same losses of the same network on the same batch in float32 and PyTorch's usual memory layout, and
makes the same optimiser's step on clipped gradients.

The share of time that a run waits for data is one of wall seconds, of its first epoch, when every image is read from
disk, with one thread that computes and one that prepares batches.
"""

import copy
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from learning.goal import Goal
from training import checkpoint, methods, models, optimiser, ranks, run
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.loop import Loop
from training.materials import Material
from training.method import Method
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.images.preprocess import Preprocess

LEAST_RATIO, MOST_WAITED = 1.3, 0.05
# model, rows, columns, identities a batch (x 2 images x 2 modalities), rounds
QUICK = (("two-stream-resnet18", 144, 72, 8, 5),)
FULL = (*QUICK, ("two-stream-resnet50", 144, 72, 8, 5), ("two-stream-resnet50", 288, 144, 4, 5))
PEOPLE, WAITING_STEPS = 24, 10


def goals(quick: bool) -> Iterable[Goal]:
    """Measure.

    Yields:
        For each network and size the ratio of the peer's seconds a step to ours, and the share of time that a run
        waits for data.
    """
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "drawn"
        draw_dataset(data, "sysu-like", PEOPLE, 4, seed=0, workers=1)
        for name, height, columns, persons, rounds in QUICK if quick else FULL:
            settings = recipe(name, height, columns, persons)
            yield _speed(settings, data, Path(folder), rounds)
        yield _waiting(recipe(*FULL[-1][:4] if not quick else QUICK[0][:4]), data, Path(folder) / "waiting")


def recipe(model: str, height: int, columns: int, persons: int) -> RunSettings:
    """Make a recipe of one epoch at a published size's settings."""
    return RunSettings.model_validate(
        {
            "epochs": 1,
            "iterations": WAITING_STEPS,
            "amp": True,
            "tensorboard": "off",
            "model": {"name": model, "height": height, "columns": columns},
            "data": {"persons": persons, "images": 2},
            "schedule": {"warmup_epochs": 0},
        }
    )


def _speed(settings: RunSettings, data: Path, folder: Path, rounds: int) -> Goal:
    dataset = open_dataset("sysu-mm01", data)
    own = run.build(folder, settings, Material(dataset), ranks.join("cpu"))
    torch.manual_seed(0)
    method = methods.create(models.build(settings.model), dataset.train, settings.method)
    batch = _batch(settings, Images(dataset.train, _size(settings), 64), method)
    plain = _plain(method, settings)
    actions = (lambda: plain(copy.copy(batch)), lambda: _ours(own, batch))
    for action in actions:
        action()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, kept in zip(actions, seconds, strict=True):
            began = time.process_time()
            action()
            kept.append(time.process_time() - began)
    ratio = statistics.median(a / b for a, b in zip(*seconds, strict=True))
    plain_s, own_s = (statistics.median(values) for values in seconds)
    size = f"{settings.model.name.rpartition('-')[2]}_{settings.model.height}x{settings.model.columns}"
    rows = len(batch.index)
    return Goal.at_least(
        f"training_step_{size}_against_fp32_eager",
        ratio,
        LEAST_RATIO,
        f"{rows} rows: {own_s:.3f} CPU s ({rows / own_s:.1f} images/s), plain {plain_s:.3f} CPU s "
        f"({rows / plain_s:.1f} images/s)",
    )


def _ours(loop: Loop, batch: Batch) -> None:
    loop.step(batch)


def _plain(method: Method, settings: RunSettings) -> Callable[[Batch], None]:
    stepping = optimiser.build(method.modules, settings.optimiser)
    method.modules.train()

    def step(batch: Batch) -> None:
        stepping.zero_grad()
        total = method.step(batch)["total"]
        total.backward()
        nn.utils.clip_grad_norm_(method.modules.parameters(), settings.optimiser.clip_norm)
        stepping.step()

    return step


def _batch(settings: RunSettings, images: Images, method: Method) -> Batch:
    draw = method.begin_epoch(0, None).draw
    return next(iter(loaders.batches(images, sampler(draw, settings), settings.data, epoch=0, seed=0)))


def _size(settings: RunSettings) -> Preprocess:
    return Preprocess(settings.model.height, settings.model.columns)


def _waiting(settings: RunSettings, data: Path, folder: Path) -> Goal:
    dataset = replace(open_dataset("sysu-mm01", data), query=Split("query", ()))  # nothing to evaluate
    run.begin(folder, settings, Material(dataset), "cpu").loop.train()
    (line,) = checkpoint.read_metrics(folder)
    batch = 2 * settings.data.persons * settings.data.images
    spent = WAITING_STEPS * batch / line["speed"]
    share = line["waited"] / (spent - line["waited"])
    return Goal.at_most(
        "seconds_waited_for_data_over_seconds_of_steps",
        share,
        MOST_WAITED,
        f"{line['waited']:.3f} s of {spent:.2f} s, {WAITING_STEPS} steps of {batch} rows, nothing read before, "
        f"{settings.data.loaders} loading thread",
    )
