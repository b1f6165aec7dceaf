"""Bundles with all engines that a processor can run, made once: a ResNet-50 trained on drawn people, or any bundle there is.

    WORK/data/learnt           drawn people
    WORK/runs/resnet50-*       the ResNet-50 at three sizes, each begun with the weights of the one before
    WORK/resnet50-*.source.zip a run as a bundle
    WORK/NAME.zip              a bundle with its engines

No published weights can be had everywhere, so the network is trained: most of its steps on small images, where they are cheap,
and the last of them at full size. Those few are not enough to find people well there, so a change of its mean average precision
says more at the size before; without them images of different people would hardly differ at full size, and a cosine would say
nothing.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import calibration_images, eight_bits, openvino_part, proving
from export import exam as exams
from export.eight_bits import Order
from learning.runs import Job, People, draw, train_all
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.datasets import open_dataset
from vireid.errors import VireidError

LEARNT = People("learnt", "sysu-like", 400, 77, images=2)
FEW = People("few", "sysu-like", 28, 77, images=1)  # to calibrate on where nothing is learnt
CALIBRATE_ON = 64
ASKED, ASKED_SEED = 128, 78  # whom no network here ever saw
SHARED: dict[str, Any] = {
    "model.name": "one-stream-resnet50", "model.width": 1.0, "data.erase": 0.2, "amp": True, "threads": 1,
    "tensorboard": "off", "evaluate_first": False, "data.persons": 8,
}  # fmt: skip
# about half an hour of one core together
SMALL: dict[str, Any] = {
    **SHARED, "model.height": 64, "model.columns": 32, "data.pad": 2, "data.images": 4,
    "iterations": 50, "epochs": 20, "optimiser.rate": 1e-3, "schedule.warmup_epochs": 2,
}  # fmt: skip
MIDDLE: dict[str, Any] = {
    **SHARED, "model.height": 144, "model.columns": 72, "data.pad": 5, "data.images": 2,
    "iterations": 30, "epochs": 10, "optimiser.rate": 5e-4, "optimiser.trunk_share": 0.5, "schedule.warmup_epochs": 1,
}  # fmt: skip
FULL: dict[str, Any] = {
    **SHARED, "model.height": 288, "model.columns": 144, "data.pad": 10, "data.images": 2,
    "iterations": 20, "epochs": 4, "optimiser.rate": 3e-4, "optimiser.trunk_share": 0.5, "schedule.warmup_epochs": 1,
}  # fmt: skip
RECIPE = "synthetic-supervised"
SIZES = (
    Job("resnet50-64", RECIPE, LEARNT.name, SMALL),
    Job("resnet50-144", RECIPE, LEARNT.name, MIDDLE, start="resnet50-64"),
    Job("resnet50-288", RECIPE, LEARNT.name, FULL, start="resnet50-144"),
)


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


def trained(work: Path, name: str) -> Bundle:
    """Train the ResNet-50 at all its sizes, or take it as it was trained, and return one of them.

    Args:
        work: where all is kept.
        name: of the run.
    """
    path = work / f"{name}.source.zip"
    if not path.is_file():
        from export import to_onnx
        from training import checkpoint

        draw(work, [LEARNT])
        train_all(work, SIZES, processes=1)
        run = work / "runs" / name
        prepared = checkpoint.preprocessing(run)
        description = to_onnx.Description(
            name=name,
            method="supervised",
            mean=prepared["mean"],
            std=prepared["std"],
            provenance=checkpoint.provenance(run),
            metrics=checkpoint.metrics(run),
        )
        to_onnx.export(checkpoint.load_model(run), description, path)
    return bundles.read(path)


def engines(work: Path, name: str, bundle: Bundle, threads: int, *, quick: bool) -> Tried:
    """Add every engine that passes, or read the bundle it was done with; a failure is kept beside it.

    Args:
        work: where bundles are kept.
        name: of the model.
        bundle: holds it.
        threads: of the processor.
        quick: int8 in ONNX Runtime and nothing else.
    """
    kept = f"{name}-quick" if quick else name
    path, failed = work / f"{kept}.zip", work / f"{kept}.refused.json"
    if path.is_file() and bundles.read(path).space_id == bundle.space_id and failed.is_file():
        return Tried(name, bundles.read(path), json.loads(failed.read_text()))
    asked = exams.drawn(bundle.preprocess, ASKED, ASKED_SEED, threads)
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

    def read() -> Bundle:
        return bundles.read(path)

    order = Order("onnxruntime", "int8", threads=threads)
    attempt(order.scheme, lambda: eight_bits.make(read(), calibration, asked, order, path, _quiet))
    if not quick:
        attempt("openvino-bf16", lambda: openvino_part.add_bf16(read(), asked, path, _quiet, threads=threads))
    if not quick and order.scheme not in refused:
        part = EnginePart(runtime="openvino", precision="int8", file=order.file)
        attempt(
            part.name,
            lambda: proving.prove_and_add(read(), part, {}, asked, path, device="cpu", threads=threads),
        )
    failed.write_text(json.dumps(refused, indent=1) + "\n")
    return Tried(name, bundles.read(path), refused)


@contextmanager
def _quiet(_what: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _steps: None
