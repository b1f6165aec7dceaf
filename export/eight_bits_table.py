"""The commands of eight bits, run: what they read and where they write, their progress, and the table they end with."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export import calibration_images, eight_bits, exam_source
from export.bars import BARS
from export.eight_bits import Made, Order
from export.options import target_of
from export.ranges import WAYS, Way
from vireid import bundle as bundles
from vireid import progress
from vireid.errors import ExportError

RUNTIMES = ("onnxruntime", "tensorrt")
SHOWN = 8  # layers that are named


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Attributes:
        bundle: to start from.
        calibrate: images to calibrate on.
        dataset: people to prove on; None to draw some.
        out: where the bundle is written; None to replace the .zip that was read.
    """

    bundle: Path
    calibrate: Path
    dataset: Path | None
    out: Path | None


def run(places: Places, order: Order, count: int) -> None:
    """Make an engine and print what became of it.

    Args:
        places: where things are.
        order: what to make.
        count: of calibration images.

    Raises:
        AlreadyExists: the place to write is a folder.
        ExportError: images of one modality, or a bar that cannot be met; nothing is written.
    """
    target = target_of(places.bundle, places.out)
    bundle = bundles.read(places.bundle)
    with progress.bar("reading calibration images", count) as advance:
        calibration = calibration_images.read(places.calibrate, bundle.preprocess, count, advance)
    exam = exam_source.of(bundle, places.dataset)
    made = eight_bits.make(bundle, calibration, exam, order, target, progress.bar)
    before = len(bundle.file(bundle.manifest.model.file))
    Console(soft_wrap=True, markup=False, highlight=False).print(
        _table(order, made, calibration.origin, before, target)
    )


def runtime_of(word: str) -> str:
    """Return a runtime that can compute in eight bits.

    Raises:
        ExportError: this one cannot.
    """
    if word not in RUNTIMES:
        raise ExportError(f"found the runtime {word!r}; expected {' or '.join(RUNTIMES)}")
    return word


def way_of(word: str | None) -> Way | None:
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


def _reached(made: Made) -> tuple[float, float]:
    """Return the mean cosine and the change of mAP in points, of the proof or of the trial in its place."""
    if made.report is not None:
        ranking = made.report.ranking
        return made.report.cosine_mean, 0.0 if ranking is None else ranking.map_change
    assert made.score is not None, "what was not proven was scored"
    return made.score.cosine_mean, made.score.map_change


def _table(order: Order, made: Made, calibrated_on: str, before: int, target: Path) -> Table:
    found, quantiser, bar = made.found, made.quantiser, BARS[order.precision]
    kept = {layer.name for layer in found.kept}
    rounded = [layer for layer in quantiser.layers if layer.name not in kept]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("engine", f"{order.scheme} in {target}")
    table.add_row("calibrated", f"{quantiser.way}, on {calibrated_on}")
    table.add_row(
        "layers",
        f"{len(rounded)} of {len(quantiser.layers)} in {order.precision}, {100 * quantiser.share(rounded):.1f} % of the work",
    )
    if found.kept:
        named = ", ".join(layer.name for layer in found.kept[:SHOWN])
        more = f" and {len(kept) - SHOWN} more" if len(kept) > SHOWN else ""
        table.add_row("in fp32", f"{named}{more}")
    table.add_row("size", f"{before / 1e6:.1f} MB to {len(found.graph) / 1e6:.1f} MB")
    mean, change = _reached(made)
    table.add_row("cosine mean", f"{mean:.4f} (at least {bar.cosine_mean})")
    table.add_row("mAP", f"{change:+.2f} points (at most {bar.map_loss} may be lost)")
    if made.report is None:
        table.add_row(
            "parity", "not proven: the same arithmetic in onnxruntime; run 'vireid export tensorrt' on a GPU"
        )
    else:
        table.add_row("parity", "passed" if made.report.passed else "; ".join(made.report.failures))
        for note in made.report.notes:
            table.add_row("note", note)
    return table
