"""Scores of the same person and of different people, for each pair of modalities."""

import numpy as np

from vireid.arrays import Float64Array, Int64Array
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.histogram import Histogram
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Axes, Figure, styled

_BARS = 70  # about as many as are drawn
_ROOM = 1.3  # above the highest bar, for the legend


@styled
def histogram(evidence: Evidence, title: str = "") -> Figure:
    """Draw one panel for each pair of modalities.

    Args:
        evidence: what was gathered.
        title: above the picture.
    """
    panels = evidence.histograms
    made = style.figure(height=style.HEIGHT * (1 if len(panels) == 1 else 0.72 * len(panels)), title=title)
    first, last = _range(panels)
    for row, (axes, panel) in enumerate(
        zip(made.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True)
    ):
        _panel(axes, panel, first, last)
        axes.set_title(f"{panel.query.word} asks, {panel.gallery.word} is found", loc="left", fontsize=9)
        if row == len(panels) - 1:
            axes.set_xlabel(f"{evidence.score} of query and gallery image")
    return made


def _panel(axes: Axes, panel: Histogram, first: int, last: int) -> None:
    width = max(1, (last - first) // _BARS)
    bins = np.arange(first, last, width)
    left = panel.edges[bins]
    right = panel.edges[np.minimum(bins + width, last)]
    edges = np.append(left, right[-1])
    highest = 0.0
    for name, counts, colour, hatch in (
        ("different people", panel.different, style.SECOND, "////"),
        ("same person", panel.same, style.FIRST, None),
    ):
        shares = _shares(counts[first:last], bins - first)
        highest = max(highest, float(shares.max()))
        label = f"{name}: {int(counts.sum()):,} pairs"
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25, linewidth=0)
        axes.stairs(shares, edges, color=colour, linewidth=1.5, hatch=hatch, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, highest * _ROOM)
    style.percents(axes.yaxis)
    axes.set_ylabel(f"% of the pairs in a bin of {right[0] - left[0]:.2g}")
    axes.legend(loc="upper left")


def _range(panels: tuple[Histogram, ...]) -> tuple[int, int]:
    """Return the first bin that holds a pair and one past the last, with some room."""
    filled = np.flatnonzero(sum(p.same + p.different for p in panels))
    room = max(5, (int(filled[-1]) - int(filled[0])) // 40)
    return max(0, int(filled[0]) - room), min(len(panels[0].edges) - 1, int(filled[-1]) + 1 + room)


def _shares(counts: Int64Array, begins: Int64Array) -> Float64Array:
    """Add neighbouring bins up, as shares of all."""
    found: Float64Array = np.add.reduceat(counts, begins) / max(1, int(counts.sum()))
    return found
