"""Numbers over epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import FuncFormatter, MaxNLocator

from training.report.history import Series
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Axes, Figure, styled

SIZE = (4.0, 3.1)  # inches
SMALL = (2.9, 2.05)  # inches of a picture that stands among many
_SHORT = 12  # letters of a name up to which three stand beside one another
_LEGEND = 0.2  # inches of a further row of the legend
_MARKS = 30  # epochs up to which each gets a mark
_WIDE = 30.0  # greatest over smallest value from which powers of ten stand apart alike


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: for the legend.
        series: its numbers.
        colour: one of the palette's.
        dashes: of matplotlib's line styles.
        mark: of matplotlib's markers; lines are told apart by it too.
    """

    name: str
    series: Series
    colour: str = style.FIRST
    dashes: str = "-"
    mark: str = "o"


@styled
def curves(
    lines: Sequence[Line],
    says: str,
    title: str = "",
    *,
    scale: Literal["plain", "shares", "wide"] = "plain",
    small: bool = False,
    along: str = "epoch",
) -> Figure:
    """Draw numbers over epochs, or over whatever else is counted.

    Args:
        lines: at least one; a legend tells several apart.
        says: what the numbers are.
        title: above the picture.
        scale: ``shares`` of 1 are drawn in percent from 0 to 100; numbers of a ``wide`` range by powers of ten.
        small: the picture stands among many.
        along: what is counted.
    """
    width, height = SMALL if small else SIZE
    columns = 3 if max(len(line.name) for line in lines) <= _SHORT else 2
    rows = -(-len(lines) // columns)
    made = style.figure(width, height + _LEGEND * max(0, rows - 2), title=title)
    axes = made.add_subplot()
    for line in lines:
        axes.plot(
            line.series.epochs,
            line.series.values,
            color=line.colour,
            linestyle=line.dashes,
            marker=line.mark if len(line.series.epochs) <= _MARKS else "",
            markersize=3.2,
            label=line.name,
        )
    _scale(axes, [value for line in lines for value in line.series.values], scale)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel(along)
    axes.set_ylabel(says)
    if len(lines) > 1:
        made.legend(loc="outside lower center", ncols=columns, frameon=False, borderaxespad=0.2)
    return made


def _scale(axes: Axes, values: Sequence[float], scale: str) -> None:
    if scale == "shares":
        axes.set_ylim(-0.02, 1.02)
        style.percents(axes.yaxis)
    elif scale == "wide" and min(values) > 0 and max(values) > _WIDE * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(style.NullFormatter())
    elif min(values) >= 0:
        axes.set_ylim(0, 1.06 * max(values) or 1.0)
