"""From a bundle to an engine in eight bits: calibrate, choose the ways, search for layers to leave, prove, add.

The search sees the calibration images alone; what it found is judged on people it has not seen. What ONNX Runtime is to serve
is proven here. What is for TensorRT cannot run without a GPU: its arithmetic is tried in ONNX Runtime, which rounds in the same
places, and the engine stays unproven until it has run. Knows no command line.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from export import comparison, quantize, sensitivity
from export.bars import BARS
from export.calibration_images import CalibrationImages
from export.exam import Exam
from export.layers import Layer
from export.parity import Report
from export.proving import prove_and_add
from export.quantize import Quantiser
from export.ranges import WAYS, Way
from export.sensitivity import Found, Shown
from export.trial import Score, Trial
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.errors import ExportError

HARM_ON = 8  # images on which each layer is rounded alone
# of the cosine that the bar allows to be lost: what is so near seldom finds others first, which a search by mAP cannot tell from
# chance: half a point of it comes and goes with the people who are asked
AIM = 1 / 3
FASTER = 4  # how many times as fast eight bits are where nothing can be timed


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
        score: on the exam, of the same arithmetic in onnxruntime; None where the engine itself runs here.
        report: of the engine as it is served; None where it cannot run here.
    """

    quantiser: Quantiser
    found: Found
    score: Score | None
    report: Report | None


def fit(graph: bytes, calibration: CalibrationImages, order: Order, shown: Shown) -> tuple[Quantiser, Found]:
    """Put a graph into eight bits so that it comes near enough to itself, or as near as it can.

    Args:
        graph: fp32.
        calibration: images of both modalities; the only ones that are looked at.
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
    few, fused = calibration.first(HARM_ON), quantiser.scheme.fused
    alone = Trial(graph, few.images, few.modality, order.threads, fused=fused)
    trial = Trial(graph, calibration.images, calibration.modality, order.threads, fused=fused)

    def cost(choices: Sequence[Collection[Layer]]) -> Sequence[float]:
        if fused:
            return alone.seconds([quantiser.graph(one) for one in choices])
        return [1 - (1 - 1 / FASTER) * quantiser.share(one) for one in choices]

    least = 1 - AIM * (1 - BARS[order.precision].cosine_mean)
    found = sensitivity.search(quantiser, trial.cosine, least, lambda one: 1 - alone.cosine(one), cost, shown)
    return quantiser, found


def make(
    bundle: Bundle, calibration: CalibrationImages, exam: Exam, order: Order, out: Path, shown: Shown
) -> Made:
    """Make an engine of a bundle and write the bundle with it.

    Args:
        bundle: to start from.
        calibration: images of both modalities.
        exam: people whom no part of the search has seen, by whom what it found is judged.
        order: what to make.
        out: where the bundle is written; the .zip it was read from may be replaced.
        shown: shows progress.

    Raises:
        ExportError: the bar cannot be met, each number beside it; nothing is written.
    """
    source = bundle.file(bundle.manifest.model.file)
    quantiser, found = fit(source, calibration, order, shown)
    bar = BARS[order.precision]
    if not found.cosine >= bar.cosine_mean and not order.keep_failed:
        raise ExportError(
            _refusal(
                order,
                quantiser,
                found,
                f"cosine mean {found.cosine:.4f} on what it was calibrated on, at least {bar.cosine_mean} is required",
            )
        )
    part = EnginePart.model_validate(
        {"runtime": order.runtime, "precision": order.precision, "file": order.file}
    )
    files = {order.file: found.graph}
    if order.runtime == "tensorrt":
        score = _scored(source, found.graph, exam, order, shown)
        if (misses := score.misses(bar)) and not order.keep_failed:
            raise ExportError(_refusal(order, quantiser, found, "; ".join(misses)))
        bundles.with_engine(bundle, part, files, out)
        return Made(quantiser, found, score, None)
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
    return Made(quantiser, found, None, report)


def _scored(source: bytes, graph: bytes, exam: Exam, order: Order, shown: Shown) -> Score:
    """Score what cannot run here: the same rounding, computed in fp32."""
    with shown("trying it on people", 2 * len(exam)) as advance:
        trial = Trial(source, exam.images, exam.modality, order.threads, advance, fused=False)
        return trial.score(graph, exam, advance)


def _refusal(order: Order, quantiser: Quantiser, found: Found, missed: str) -> str:
    tried = ", ".join(f"{one.kept} left: {one.cosine:.4f}" for one in found.attempts)
    return (
        f"{order.scheme} cannot meet its bar, so nothing is written: nearest came a graph with {len(found.kept)} of "
        f"{len(quantiser.layers)} layers left in fp32, {missed} (cosine mean with {tried}). Try more calibration images, or "
        "serve half precision"
    )
