"""Bundles with all engines that a processor can run, made once: a ResNet-50 trained on drawn people, or any bundle there is.

    WORK/data/...            drawn people
    WORK/run-small, run      the ResNet-50 at a third of its size, then at its own
    WORK/NAME.zip            the bundle with its engines

No published weights can be had everywhere, so the network is trained: most steps at a third of the size, where they are cheap,
and a few at full size, after which it finds drawn people it never saw several times better than chance.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export import calibration_images, eight_bits, proving, to_onnx
from export import exam as exams
from export.eight_bits import Order
from export.exam import Exam
from export.to_onnx import Description
from learning.runs import People, draw
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.datasets import open_dataset
from vireid.errors import ExportError, MissingExtra, ProviderUnavailable

LEARNT = People("learnt", "sysu-like", 160, 77, images=2)
ASKED = People("asked", "sysu-like", 60, 78, images=2)
CALIBRATE_ON = 64
FEW = 40
SHARED: dict[str, Any] = {
    "model.name": "one-stream-resnet50", "model.width": 1.0, "threads": 0, "tensorboard": "off", "evaluate_first": False,
    "data.erase": 0.1, "amp": True, "data.persons": 8, "data.images": 2, "schedule.warmup_epochs": 1,
}  # fmt: skip
SMALL = {"model.height": 96, "model.columns": 48, "data.pad": 3, "iterations": 20, "optimiser.rate": 1e-3}
WHOLE = {
    "model.height": 288, "model.columns": 144, "data.pad": 10, "data.persons": 4,
    "epochs": 2, "iterations": 4, "optimiser.rate": 2e-4,
}  # fmt: skip
SMALL_EPOCHS = 20


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


def people(work: Path, *, few: bool) -> None:
    """Draw whom the network learns, and whom it never sees; few of both where nothing is to be learnt."""
    draw(work, [replace(each, count=FEW, images=1) if few else each for each in (LEARNT, ASKED)])


def train(work: Path, small_epochs: int = SMALL_EPOCHS) -> Bundle:
    """Train the ResNet-50, or take the one that was trained."""
    path = work / "resnet50.source.zip"
    if not path.is_file():
        from training import checkpoint

        small = {**SHARED, **SMALL, "epochs": small_epochs}
        _run(work, "run-small", small, None)
        _run(work, "run", {**SHARED, **WHOLE}, work / "run-small" / "last.safetensors")
        prepared = checkpoint.preprocessing(work / "run")
        description = Description(
            name="resnet50",
            method="supervised",
            mean=prepared["mean"],
            std=prepared["std"],
            provenance=checkpoint.provenance(work / "run"),
            metrics=checkpoint.metrics(work / "run"),
        )
        to_onnx.export(checkpoint.load_model(work / "run"), description, path)
    return bundles.read(path)


def _run(work: Path, name: str, changes: dict[str, Any], weights: Path | None) -> None:
    from training import order, stages
    from training.settings import read

    folder = work / name
    if (folder / "done").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    wanted = order.Order(
        read("synthetic-supervised", changes), work / "data" / LEARNT.name, weights=weights, device="cpu"
    )
    for stage in stages.start(folder, wanted):
        stage.started.loop.train()
    (folder / "done").touch()


def exam(work: Path, bundle: Bundle, limit: int) -> Exam:
    """Read people that the network never saw."""
    return exams.of_dataset(open_dataset("sysu-mm01", work / "data" / ASKED.name), bundle.preprocess, limit)


def engines(work: Path, name: str, bundle: Bundle, images: int, threads: int) -> Tried:
    """Add every engine that passes, or read the bundle it was done with; a failure is kept beside it."""
    path, failed = work / f"{name}.zip", work / f"{name}.refused.json"
    if path.is_file() and bundles.read(path).space_id == bundle.space_id and failed.is_file():
        return Tried(name, bundles.read(path), json.loads(failed.read_text()))
    people_asked = exam(work, bundle, images)
    learnt = open_dataset("sysu-mm01", work / "data" / LEARNT.name)
    calibration = calibration_images.of_dataset(learnt, bundle.preprocess, CALIBRATE_ON)
    bundles.write(path, bundle.manifest, bundle.contents)
    refused: dict[str, str] = {}

    def attempt(engine: str, make: Callable[[], object]) -> None:
        print(f"{name}: making {engine}", flush=True)
        try:
            make()
        except (ExportError, ProviderUnavailable, MissingExtra) as error:
            refused[engine] = error.message
            print(f"{name}: {engine}: {error.message}", flush=True)

    order = Order("onnxruntime", "int8", threads=threads)
    attempt(
        order.scheme,
        lambda: eight_bits.make(bundles.read(path), calibration, people_asked, order, path, _quiet),
    )
    forms = [("bf16", bundle.manifest.model.file)]
    if order.scheme not in refused:
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
