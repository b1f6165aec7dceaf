"""From a bundle to an engine in eight bits: calibrate, choose the ways, search for layers to leave, prove, add.

What ONNX Runtime is to serve is proven here. What is for TensorRT cannot run without a GPU: its arithmetic is tried in ONNX
Runtime, which rounds in the same places, and the engine stays unproven until it has run. Knows no command line.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from export import comparison, quantize, sensitivity
from export.bars import BARS
from export.calibration_images import CalibrationImages
from export.exam import Exam
from export.parity import Report
from export.proving import prove_and_add
from export.quantize import Quantiser
from export.ranges import WAYS, Way
from export.sensitivity import Found, Shown
from export.trial import Trial
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.errors import ExportError

HARM_ON = 8  # images on which each layer is rounded alone
# of what the bar allows to be lost: the search aims there, since people asked next time are others and are found otherwise
AIM = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """What to make.

    Attributes:
        runtime: ``onnxruntime`` or ``tensorrt``.
        precision: ``int8`` or ``fp8``.
        way: how far eight bits reach; None to try each.
        threads: of the processor.
        keep_failed: write it though it misses its bar.
    """

    runtime: str
    precision: str
    way: Way | None = None
    threads: int = 1
    keep_failed: bool = False

    @property
    def scheme(self) -> str:
        """Name how the runtime wants its eight bits, which is what its engine is called too."""
        return f"{self.runtime}-{self.precision}"

    @property
    def file(self) -> str:
        """Name the graph's file in the bundle."""
        return f"{self.scheme}.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What was made.

    Attributes:
        quantiser: with the way that was taken.
        found: what the search came to.
        report: of the engine as it is served; None where it cannot run here.
    """

    quantiser: Quantiser
    found: Found
    report: Report | None


def fit(
    graph: bytes, calibration: CalibrationImages, exam: Exam, order: Order, shown: Shown
) -> tuple[Quantiser, Found]:
    """Put a graph into eight bits so that it meets its bar, or as near as it comes.

    Args:
        graph: fp32.
        calibration: images of both modalities.
        exam: people by which the bar is judged.
        order: what to make.
        shown: shows progress.

    Raises:
        ExportError: the graph is not fp32, has nothing to quantise, or does not run.
    """
    with shown("calibrating", len(calibration)) as advance:
        quantiser = quantize.prepare(graph, order.scheme, calibration, advance=advance, threads=order.threads)
    way = order.way
    if way is None:
        with shown("comparing ways to calibrate", len(WAYS)) as advance:
            way, _ = quantize.choose_way(
                quantiser, graph, calibration, advance=advance, threads=order.threads
            )
    quantiser = quantiser.by(way)
    few = calibration.first(HARM_ON)
    fused = quantiser.scheme.fused
    alone = Trial(graph, few.images, few.modality, order.threads, fused=fused)
    with shown("embedding people by the model", len(exam)) as advance:
        trial = Trial(graph, exam.images, exam.modality, order.threads, advance, fused=fused)
    bar = BARS[order.precision]
    aim = replace(bar, cosine_mean=1 - AIM * (1 - bar.cosine_mean), map_loss=AIM * bar.map_loss)
    found = sensitivity.search(
        quantiser, lambda one: trial.score(one, exam), aim, lambda one: 1 - alone.cosine(one), shown
    )
    # where nothing reaches the aim, the nearest will do if it meets the bar
    return quantiser, replace(found, misses=found.score.misses(bar))


def make(
    bundle: Bundle, calibration: CalibrationImages, exam: Exam, order: Order, out: Path, shown: Shown
) -> Made:
    """Make an engine of a bundle and write the bundle with it.

    Args:
        bundle: to start from.
        calibration: images of both modalities.
        exam: people by which the bar is judged.
        order: what to make.
        out: where the bundle is written; the .zip it was read from may be replaced.
        shown: shows progress.

    Raises:
        ExportError: the bar cannot be met, each number beside it; nothing is written.
    """
    quantiser, found = fit(bundle.file(bundle.manifest.model.file), calibration, exam, order, shown)
    if not found.met and not order.keep_failed:
        raise ExportError(_refusal(order, quantiser, found))
    part = EnginePart.model_validate(
        {"runtime": order.runtime, "precision": order.precision, "file": order.file}
    )
    files = {order.file: found.graph}
    if order.runtime == "tensorrt":
        bundles.with_engine(bundle, part, files, out)
        return Made(quantiser, found, None)
    with shown("proving", comparison.steps(len(exam))) as advance:
        report = prove_and_add(
            bundle,
            part,
            files,
            exam,
            out,
            keep_failed=order.keep_failed,
            device="cpu",
            threads=order.threads,
            advance=advance,
        )
    return Made(quantiser, found, report)


def _refusal(order: Order, quantiser: Quantiser, found: Found) -> str:
    fewest, most = found.attempts[0], max(found.attempts, key=lambda one: one.kept)
    return (
        f"{order.scheme} cannot meet its bar, so nothing is written: nearest came a graph with {len(found.kept)} of "
        f"{len(quantiser.layers)} layers left in fp32, {'; '.join(found.misses)} (with {fewest.kept} left: cosine mean "
        f"{fewest.score.cosine_mean:.4f}, mAP {fewest.score.map_change:+.2f}; with {most.kept}: "
        f"{most.score.cosine_mean:.4f}, {most.score.map_change:+.2f}). Try more calibration images, or serve half precision"
    )
