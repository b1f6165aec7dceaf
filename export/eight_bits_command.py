"""``vireid export int8`` and ``vireid export fp8``: an engine of a bundle in eight bits, proven or tried before it is added."""

from typing import Annotated

import typer

from export import calibration_images, eight_bits, eight_bits_table, exam_source
from export.eight_bits import Order
from export.options import (
    BundlePath,
    Calibrate,
    CalibrationCount,
    CalibrationWay,
    KeepFailed,
    Out,
    People,
    Replace,
    Threads,
    target_of,
)
from export.ranges import WAYS, Way
from vireid import bundle as bundles
from vireid import progress
from vireid.errors import ExportError

# who computes in a precision, the usual one first
RUNTIMES = {"int8": ("onnxruntime", "tensorrt"), "fp8": ("tensorrt",)}


def _app(precision: str, told: str) -> typer.Typer:
    """Make the command of a precision; where one runtime knows it, none need be named."""
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    usual, *others = RUNTIMES[precision]

    @made.command(help=told)
    def command(
        path: BundlePath,
        calibrate: Calibrate,
        dataset: People = None,
        out: Out = None,
        replace: Replace = False,
        runtime: Annotated[
            str,
            typer.Option(
                help="onnxruntime, or tensorrt: evenly around nought, and unproven until a GPU ran it.",
                hidden=not others,
            ),
        ] = usual,
        way: CalibrationWay = None,
        count: CalibrationCount = 64,
        threads: Threads = 1,
        keep_failed: KeepFailed = False,
    ) -> None:
        if runtime not in RUNTIMES[precision]:
            raise ExportError(
                f"found the runtime {runtime!r} for {precision}; expected {' or '.join(RUNTIMES[precision])}"
            )
        order = Order(runtime, precision, _way(way), threads, keep_failed)
        target = target_of(path, out, replace=replace)
        bundle = bundles.read(path)
        with progress.bar("reading calibration images", count) as advance:
            calibration = calibration_images.read(calibrate, bundle.preprocess, count, advance)
        exam = exam_source.of(bundle, dataset)
        made = eight_bits.make(bundle, calibration, exam, order, target, progress.bar)
        before = len(bundle.file(bundle.manifest.model.file))
        eight_bits_table.show(order, made, calibration.origin, before, target)

    return made


int8 = _app(
    "int8",
    "Add an int8 engine: as many layers as the bar allows, the others in fp32; or say what misses the bar.",
)
fp8 = _app(
    "fp8",
    "Add a tensorrt-fp8 engine, tried here as far as a processor can; it stays unproven until 'vireid export tensorrt' "
    "has run it on a GPU.",
)


def _way(word: str | None) -> Way | None:
    """Return a way to calibrate, None for the best of all.

    Raises:
        ExportError: there is no such way.
    """
    if word is None:
        return None
    for way in WAYS:
        if way == word:
            return way
    raise ExportError(f"found the way to calibrate {word!r}; expected one of {', '.join(WAYS)}")
