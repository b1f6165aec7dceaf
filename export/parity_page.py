"""An engine's parity report as one HTML file that needs nothing else: its numbers beside the bars, the cosines, the worst images.

The same examination gives the same bytes. Needs the extra ``evaluation``. Knows no engine and no bundle.
"""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from export import comparison
from export.comparison import Comparison
from export.exam import Exam
from export.parity import Report
from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.evaluation.page import picture, render
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, styled
from vireid.images.thumbnail import thumbnail
from vireid.types import Modality

TEMPLATE = "parity.html.jinja"
WORST = 4  # images that are shown
FIRST = 5  # answers of each engine to them
SIDE = 160  # pixels of a thumbnail
BARS_DRAWN = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A number beside its bar."""

    name: str
    found: str
    bar: str
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """One image; ``mark`` is ``right``, ``wrong`` or empty for the one that asks."""

    source: str
    words: str
    mark: str = ""
    rank: int = 0
    score: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image that the two engines see differently, and what each finds with it."""

    about: str
    query: Tile
    source: tuple[Tile, ...]
    candidate: tuple[Tile, ...]


def html(name: str, report: Report, compared: Comparison, exam: Exam) -> str:
    """Return the page.

    Args:
        name: of the engine.
        report: what was measured.
        compared: what the two engines gave.
        exam: the images.
    """
    cosines = compared.worst
    says = f"Histogram of {len(cosines)} cosines between the two embeddings of an image"
    parts: dict[str, Any] = {
        "name": name,
        "report": report,
        "facts": facts(report),
        "lines": lines(report),
        "sizes": sizes(report),
        "histogram": picture(histogram(cosines, report.bar.cosine_min), "cosines", says),
        "pairs": pairs(compared, exam),
        "shown": FIRST,
    }
    return render(TEMPLATE, parts, "export")


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what was compared."""
    return (
        ("Engine", report.candidate),
        ("Model", report.reference),
        ("Images", f"{report.images:,}"),
        ("From", report.origin),
    )


def lines(report: Report) -> tuple[Line, ...]:
    """Return every number, with its bar where there is one."""
    bar, found = report.bar, report.ranking
    made = [
        _at_least("Cosine with the model, least", report.cosine_min, bar.cosine_min),
        _at_least("Cosine with the model, mean of the worst batch size", report.cosine_mean, bar.cosine_mean),
        _at_least("Cosine of a row alone and in a batch, least", report.company_min, bar.company),
        _at_most("Mean cosine of different people, model", report.strangers[0], bar.strangers),
        _at_most("Mean cosine of different people, engine", report.strangers[1], bar.strangers),
    ]
    if found is None:
        return tuple(made)
    loss, gain = f"\u2212{bar.map_loss:g}", "" if bar.map_gain is None else f" to +{bar.map_gain:g}"
    missed = found.map_change < -bar.map_loss or (
        bar.map_gain is not None and found.map_change > bar.map_gain
    )
    made += [
        Line("mAP of the model, %", _percent(found.source.mean_ap), ""),
        Line("mAP of the engine, %", _percent(found.candidate.mean_ap), ""),
        Line("mAP change, points", _signed(found.map_change), f"{loss}{gain or ' or more'}", missed),
        Line("Rank-1 of the model, %", _percent(found.source.rank1), ""),
        Line("Rank-1 of the engine, %", _percent(found.candidate.rank1), ""),
        Line("Rank-1 change, points", _signed(found.rank1_change), ""),
    ]
    made += [
        Line(f"First {k} in common, %", "too few images" if share is None else _percent(share), "")
        for k, share in found.agreement.items()
    ]
    return tuple(made)


def sizes(report: Report) -> tuple[tuple[str, ...], ...]:
    """Return the table of batch sizes: size, least and mean cosine, least cosine with the row alone."""
    return tuple(
        (
            str(part.size),
            _cosine(part.cosine_min),
            _cosine(part.cosine_mean),
            "" if part.size == 1 else _cosine(part.company_min),
        )
        for part in report.by_size
    )


@styled
def histogram(cosines: Any, least: float) -> Figure:
    """Draw how many images have which cosine with the model, and the bar where it is in sight."""
    made = style.figure(width=2 * style.WIDTH, height=0.8 * style.HEIGHT)
    axes = made.subplots()
    low = min(float(cosines.min()), 1 - 1e-6)
    if low < least < 1:
        low = min(low, least)
    room = (1 - low) * 0.03
    edges = np.linspace(low - room, 1 + room, BARS_DRAWN + 1)
    counts, _ = np.histogram(np.clip(cosines, edges[0], edges[-1]), bins=edges)
    axes.stairs(counts, edges, fill=True, color=style.FIRST, alpha=0.25, linewidth=0)
    axes.stairs(counts, edges, color=style.FIRST, linewidth=1.5)
    if edges[0] < least < 1:
        axes.axvline(least, color=style.SECOND, linestyle="--", linewidth=1.4)
        axes.annotate(
            f"least allowed: {least:g}",
            (least, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            textcoords="offset points",
            color=style.SECOND,
            fontsize=8.5,
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("cosine of the two embeddings of an image, the least of all batch sizes")
    axes.set_ylabel("images")
    axes.ticklabel_format(axis="x", useOffset=False)
    return made


def pairs(compared: Comparison, exam: Exam) -> tuple[Pair, ...]:
    """Return the images that the two engines see most differently, of different people, and what each finds first."""
    shown: list[Pair] = []
    people: set[int] = set()
    for place in np.argsort(compared.worst, kind="stable").tolist():
        if len(shown) == WORST:
            break
        if int(exam.person[place]) in people:
            continue
        people.add(int(exam.person[place]))
        kind = Modality(int(exam.modality[place]))
        about = f"cosine {_cosine(float(compared.worst[place]))}, {kind.word}, person {exam.person[place]}"
        shown.append(
            Pair(
                about,
                Tile(_source(exam.images[place]), f"camera {exam.camera[place]}"),
                _answers(compared.expected, exam, place),
                _answers(compared.alone, exam, place),
            )
        )
    return tuple(shown)


def _answers(rows: Float32Array, exam: Exam, place: int) -> tuple[Tile, ...]:
    """Return what one engine finds first among the images of the other modality; nothing where it gave no number."""
    other: Int64Array = exam.of(Modality(1 - int(exam.modality[place])))
    asked = np.repeat(rows[place : place + 1], len(other), axis=0)
    scores = comparison.cosine(asked, rows[other])
    order = [at for at in np.argsort(-scores, kind="stable").tolist() if math.isfinite(scores[at])][:FIRST]
    return tuple(
        Tile(
            _source(exam.images[other[at]]),
            f"person {exam.person[other[at]]}",
            "right" if exam.person[other[at]] == exam.person[place] else "wrong",
            rank,
            f"{scores[at]:.4f}",
        )
        for rank, at in enumerate(order, start=1)
    )


def _source(rgb: UInt8Array) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(rgb, SIDE)).decode("ascii")


def _at_least(name: str, value: float, bar: float) -> Line:
    return Line(name, _cosine(value), f"at least {bar:g}", not value >= bar)


def _at_most(name: str, value: float, bar: float) -> Line:
    return Line(name, _cosine(value), f"at most {bar:g}", not value <= bar)


def _cosine(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "no number"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _signed(points: float) -> str:
    return f"{points:+.3f}".replace("-", "\u2212")
