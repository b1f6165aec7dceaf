"""OpenVINO's bf16 as a further engine of a bundle: of the whole graph, or of all but a beginning where that is not near enough.

What serves is what is tried and proven. Knows no command line.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export import beginning, comparison, proving, ranking
from export.bars import BARS, Bar
from export.beginning import Cut
from export.exam import Exam
from export.parity import Report
from vireid.arrays import Float32Array
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine, open_part
from vireid.engines.base import Engine
from vireid.errors import ExportError

BATCH = 8
# of what the bar allows: people asked next time are others
AIM = 0.75

Shown = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of it.

    Attributes:
        report: of the engine as it serves.
        cut: where its beginning in fp32 ends; None if there is none.
    """

    report: Report
    cut: Cut | None


def add_bf16(
    bundle: Bundle, exam: Exam, out: Path, shown: Shown, *, keep_failed: bool = False, threads: int = 1
) -> Added:
    """Add bf16 to a bundle, with as little in fp32 as will do.

    Args:
        bundle: to start from.
        exam: what it is proven on.
        out: where the bundle is written; the .zip it was read from may be replaced.
        shown: shows progress.
        keep_failed: add it though it misses its bar; it is served with ``--allow-unproven`` only.
        threads: of one call.

    Raises:
        ExportError: it comes not near enough with half of the multiplications in fp32 either; nothing is written.
        EngineError: it does not run here.
    """
    whole = EnginePart(runtime="openvino", precision="bf16", file=bundle.manifest.model.file)

    def proved(part: EnginePart, *, kept: bool) -> Report:
        with shown(f"comparing {part.name}", comparison.steps(len(exam))) as advance:
            return proving.prove_and_add(
                bundle, part, {}, exam, out, keep_failed=kept, threads=threads, advance=advance
            )

    try:
        return Added(proved(whole, kept=False), None)
    except ExportError as missed:
        cut = _first(bundle, whole, exam, shown, threads)
        if cut is not None:
            return Added(proved(_begun(whole, cut), kept=keep_failed), cut)
        if keep_failed:
            return Added(proved(whole, kept=True), None)
        raise ExportError(
            f"{missed.message}; nor would it be with the first half of its multiplications in fp32"
        ) from missed


def _begun(whole: EnginePart, cut: Cut) -> EnginePart:
    return whole.model_copy(update={"fp32_until": cut.name})


def _first(bundle: Bundle, whole: EnginePart, exam: Exam, shown: Shown, threads: int) -> Cut | None:
    """Find the first cut that is as near as is aimed at; if there is none, the nearest of those that meet the bar.

    Every one is tried in turn: a later one may be further off, by chance, since the least of many cosines is of one image.
    """
    places = beginning.cuts(bundle.file(whole.file))
    with shown("embedding with the model", len(exam)) as advance:
        expected = _rows(open_engine(bundle, device="cpu", threads=threads), exam, advance)
    used: dict[Cut, float] = {}
    with shown("trying how much of the beginning stays fp32", len(places)) as advance:
        for cut in places:
            part = _begun(whole, cut)
            engine = open_part(proving.with_files(bundle, part, {}), part, threads=threads)
            advance(1)
            used[cut] = _used(expected, _rows(engine, exam), exam, BARS[part.precision])
            if used[cut] <= AIM:
                return cut
    nearest = min(used, key=lambda cut: used[cut], default=None)
    return nearest if nearest is not None and used[nearest] <= 1 else None


def _used(expected: Float32Array, rows: Float32Array, exam: Exam, bar: Bar) -> float:
    """Return how much is used of what the bar allows; 1 is all of it."""
    least = float(comparison.cosine(expected, rows).min())  # embed gives no row that is not a unit row
    change = abs(ranking.rank(expected, rows, exam).map_change)
    return max((1 - least) / (1 - bar.cosine_min), change / bar.map_loss)


def _rows(engine: Engine, exam: Exam, advance: Callable[[int], None] = lambda _: None) -> Float32Array:
    made = []
    for at in range(0, len(exam), BATCH):
        part = slice(at, at + BATCH)
        made.append(engine.embed(exam.images[part], exam.modality[part]))
        advance(len(made[-1]))
    return np.concatenate(made)
