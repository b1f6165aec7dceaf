"""Embeddings in the plane, coloured by modality or by person."""

from dataclasses import dataclass

import numpy as np

from vireid.arrays import BoolArray, Float64Array, Int64Array
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Axes, Figure, styled
from vireid.types import Modality

# of middle brightness, so that they can be told apart on white and on near-black
PERSONS = ("#e0524d", "#d98300", "#8f8a00", "#3a9d4a", "#0f9b9b", "#3f7fe0", "#8f6fe8", "#cf4fb0")
_MARKS = {Modality.VISIBLE: "o", Modality.INFRARED: "^"}
_COLOURS = {Modality.VISIBLE: style.FIRST, Modality.INFRARED: style.SECOND}
_SHAPE = (4.0, 3.8)  # inches
_FEW = 400  # points up to which each is drawn large
_SIZE, _LARGE = 3.4, 4.8  # points


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Points and what they are.

    Attributes:
        points: places in the plane, (N, 2).
        modality: of each, (N,).
        person: of each, (N,).
        axes: what the two directions are called.
    """

    points: Float64Array
    modality: Int64Array
    person: Int64Array
    axes: tuple[str, str] = ("", "")


@styled
def by_modality(plane: Plane, title: str = "") -> Figure:
    """Draw visible and infrared images apart."""
    made, axes = _empty(plane, title)
    for kind in Modality:
        rows = plane.modality == kind
        if rows.any():
            label = f"{kind.word} ({int(rows.sum()):,})"
            _draw(axes, plane, rows, (kind, _COLOURS[kind], 0.6), label)
    _legend(made)
    return made


@styled
def by_person(plane: Plane, shown: Int64Array, title: str = "") -> Figure:
    """Draw some persons each in a colour, visible images as discs and infrared ones as triangles, the others grey.

    Args:
        plane: the points.
        shown: persons that get a colour, at most as many as there are colours, (P,).
        title: above the picture.
    """
    made, axes = _empty(plane, title)
    others = ~np.isin(plane.person, shown)
    for kind in Modality:
        if (rows := others & (plane.modality == kind)).any():
            _draw(axes, plane, rows, (kind, style.FAINT, 0.22))
    for person, colour in zip(shown.tolist(), PERSONS, strict=False):
        label = f"person {person}"
        for kind in Modality:
            if (rows := (plane.person == person) & (plane.modality == kind)).any():
                _draw(axes, plane, rows, (kind, colour, 0.9), label)
                label = ""
    _legend(made)
    return made


def _empty(plane: Plane, title: str) -> tuple[Figure, Axes]:
    made = style.figure(*_SHAPE, title=title)
    axes = made.add_subplot()
    axes.set_xlabel(plane.axes[0])
    axes.set_ylabel(plane.axes[1])
    # places have no unit: only distances within the picture count, and they count alike both ways
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    return made, axes


def _draw(
    axes: Axes, plane: Plane, rows: BoolArray, look: tuple[Modality, str, float], label: str = ""
) -> None:
    kind, colour, alpha = look
    axes.plot(
        *plane.points[rows].T,
        color=colour,
        alpha=alpha,
        linestyle="",
        marker=_MARKS[kind],
        markersize=_LARGE if len(plane.points) <= _FEW else _SIZE,
        markeredgewidth=0,
        label=label or None,
    )


def _legend(made: Figure) -> None:
    made.legend(
        loc="outside lower center",
        ncols=4,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0.2,
    )
