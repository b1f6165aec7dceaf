"""Bundles with all engines that a processor can run, made once: a ResNet-50 trained on drawn people, or any bundle there is.

    WORK/data/learnt         drawn people
    WORK/run                 the ResNet-50, trained at a third of its size
    WORK/resnet50.source.zip the same at full size
    WORK/NAME.zip            a bundle with its engines

No published weights can be had everywhere, so the network is trained, at a third of the size, where steps are cheap; then batch
norm's statistics are measured anew on images of full size. It finds drawn people it never saw better than chance.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import calibration_images, eight_bits, proving, quantize, to_onnx
from export import exam as exams
from export.eight_bits import Order
from export.exam import Exam
from export.to_onnx import Description
from learning.runs import People, draw
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.datasets import open_dataset
from vireid.errors import VireidError
from vireid.images.preprocess import Preprocess

LEARNT = People("learnt", "sysu-like", 160, 77, images=2)
FEW = People("few", "sysu-like", 28, 77, images=1)  # to calibrate on where nothing is learnt
CALIBRATE_ON = 64
ASKED, ASKED_SEED = 128, 78
# each person is found before one camera by day, and asks from both by night; from one where two minutes must do
QUICK_CAMERAS, CAMERAS = (1, 3), (1, 3, 6)
STATISTICS_ON = 160
FULL = (288, 144)
SMALL: dict[str, Any] = {
    "model.name": "one-stream-resnet50", "model.width": 1.0, "model.height": 96, "model.columns": 48, "data.pad": 3,
    "data.persons": 8, "data.images": 2, "data.erase": 0.1, "iterations": 20, "optimiser.rate": 1e-3,
    "schedule.warmup_epochs": 1, "amp": True, "threads": 0, "tensorboard": "off", "evaluate_first": False,
}  # fmt: skip
EPOCHS = 25


@dataclass(frozen=True)
class Tried:
    """A bundle with the engines that could be added.

    Args:
        name: of the model.
        bundle: with its engines.
        refused: engines that could not be, and why.
    """

    name: str
    bundle: Bundle
    refused: dict[str, str]


def train(work: Path, epochs: int = EPOCHS) -> Bundle:
    """Train the ResNet-50, or take the one that was trained."""
    path = work / "resnet50.source.zip"
    if not path.is_file():
        from training import checkpoint

        draw(work, [LEARNT])
        run = work / "run"
        _run(work, run, {**SMALL, "epochs": epochs})
        prepared = checkpoint.preprocessing(run)
        description = Description(
            name="resnet50",
            method="supervised",
            mean=prepared["mean"],
            std=prepared["std"],
            provenance=checkpoint.provenance(run) | {"size": "trained at 96 x 48, statistics of 288 x 144"},
            metrics={},
        )
        to_onnx.export(_at_full_size(work, run), description, path)
    return bundles.read(path)


def _at_full_size(work: Path, run: Path) -> Any:
    """Build the network for its full size, with the weights of a run, and batch norm's statistics measured anew."""
    import torch
    from torch import nn

    from training import checkpoint
    from training.models import build

    height, width = FULL
    settings = checkpoint.load_settings(run).model.model_copy(update={"height": height, "columns": width})
    network = build(settings)
    network.load_state_dict(checkpoint.load_model(run).state_dict())
    learnt = open_dataset("sysu-mm01", work / "data" / LEARNT.name)
    seen = calibration_images.of_dataset(learnt, Preprocess(height, width), STATISTICS_ON)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over all batches
    network.train()
    with torch.no_grad():
        for at in range(0, len(seen), 16):
            part = slice(at, at + 16)
            network.features(torch.from_numpy(seen.images[part]), torch.from_numpy(seen.modality[part]))
    return network.eval()


def _run(work: Path, folder: Path, changes: dict[str, Any]) -> None:
    from training import order, stages
    from training.settings import read

    if (folder / "done").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    wanted = order.Order(read("synthetic-supervised", changes), work / "data" / LEARNT.name, device="cpu")
    for stage in stages.start(folder, wanted):
        stage.started.loop.train()
    (folder / "done").touch()


def exam(bundle: Bundle, cameras: tuple[int, ...], workers: int) -> Exam:
    """Draw people whom no network here ever saw, before some cameras."""
    whole = exams.drawn(bundle.preprocess, ASKED, ASKED_SEED, workers)
    kept = np.isin(whole.camera, cameras)
    return Exam(
        whole.images[kept],
        whole.person[kept],
        whole.camera[kept],
        whole.modality[kept],
        f"{whole.origin}, cameras {', '.join(map(str, cameras))}",
    )


def engines(work: Path, name: str, bundle: Bundle, threads: int, *, quick: bool) -> Tried:
    """Add every engine that passes, or read the bundle it was done with; a failure is kept beside it."""
    kept = f"{name}-quick" if quick else name
    path, failed = work / f"{kept}.zip", work / f"{kept}.refused.json"
    if path.is_file() and bundles.read(path).space_id == bundle.space_id and failed.is_file():
        return Tried(name, bundles.read(path), json.loads(failed.read_text()))
    people_asked = exam(bundle, QUICK_CAMERAS if quick else CAMERAS, threads)
    learnt = FEW if quick else LEARNT
    draw(work, [learnt])
    calibration = calibration_images.of_dataset(
        open_dataset("sysu-mm01", work / "data" / learnt.name), bundle.preprocess, CALIBRATE_ON
    )
    bundles.write(path, bundle.manifest, bundle.contents)
    refused: dict[str, str] = {}

    def attempt(engine: str, make: Callable[[], object]) -> None:
        print(f"{name}: making {engine}", flush=True)
        try:
            make()
        except VireidError as error:
            refused[engine] = error.message
            print(f"{name}: {engine}: {error.message}", flush=True)

    order = Order("onnxruntime", "int8", threads=threads)

    def unsearched() -> None:
        quantiser = quantize.prepare(bundle.file(bundle.manifest.model.file), order.scheme, calibration)
        # a search takes minutes; the first layers and the last harm most
        part = EnginePart.model_validate(
            {"runtime": order.runtime, "precision": order.precision, "file": order.file}
        )
        files = {order.file: quantiser.graph(quantiser.layers[6:-1])}
        proving.prove_and_add(
            bundles.read(path), part, files, people_asked, path, device="cpu", threads=threads
        )

    def searched() -> None:
        eight_bits.make(bundles.read(path), calibration, people_asked, order, path, _quiet)

    attempt(order.scheme, unsearched if quick else searched)
    forms = [] if quick else [("bf16", bundle.manifest.model.file)]
    if order.scheme not in refused and not quick:
        forms.append(("int8", order.file))
    for precision, file in forms:
        part = EnginePart.model_validate({"runtime": "openvino", "precision": precision, "file": file})
        attempt(part.name, lambda part=part: _prove(path, part, people_asked, threads))  # type: ignore[misc]
    failed.write_text(json.dumps(refused, indent=1) + "\n")
    return Tried(name, bundles.read(path), refused)


def _prove(path: Path, part: EnginePart, images: Exam, threads: int) -> None:
    proving.prove_and_add(bundles.read(path), part, {}, images, path, device="cpu", threads=threads)


@contextmanager
def _quiet(_what: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _steps: None
