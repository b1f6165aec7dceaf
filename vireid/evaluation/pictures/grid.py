"""The first answers of a few queries, image by image, with right and wrong told apart by colour, line and sign."""

import numpy as np
from PIL import Image, ImageOps

from vireid.arrays import UInt8Array
from vireid.evaluation.album import FILES, Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Axes, Figure, Rectangle, styled
from vireid.evaluation.ranked_lists import LENGTH, Answer, RankedList
from vireid.types import Sample

RIGHT, WRONG = "\u2713", "\u2717"
_TILE = (64, 128)  # pixels
_COLUMN, _ROW = 0.86, 2.0  # inches, and those around an image
_EDGE, _ABOVE, _BELOW, _TITLE = 0.08, 0.34, 0.22, 0.25


@styled
def grid(evidence: Evidence, album: Album = FILES, title: str = "") -> Figure:
    """Draw each query in front of its first answers.

    Args:
        evidence: what was gathered.
        album: where images are.
        title: above the picture.

    Raises:
        DatasetError: an image is missing or cannot be read.
    """
    rows = len(evidence.lists)
    width, height = _COLUMN * (LENGTH + 1), _ROW * rows + (_TITLE if title else 0)
    made = style.figure(width, height)
    if title:
        style.headline(made, title, y=1 - _EDGE / height)
    made.set_layout_engine("none")  # all is of a known size, and finding it out takes seconds
    room = {
        "left": _EDGE / width,
        "right": 1 - _EDGE / width,
        "bottom": _BELOW / height,
        "top": 1 - (_ABOVE + (_TITLE if title else 0)) / height,
        "wspace": 0.16,
        "hspace": (_ABOVE + _BELOW) / (_ROW - _ABOVE - _BELOW),
    }
    cells = made.subplots(rows, LENGTH + 1, squeeze=False, gridspec_kw=room)
    for row, shown in enumerate(evidence.lists):
        _query(cells[row, 0], shown, album)
        for place in range(LENGTH):
            axes = cells[row, place + 1]
            if place < len(shown.answers):
                _answer(axes, shown.answers[place], album)
            else:
                axes.set_axis_off()
    return made


def _query(axes: Axes, shown: RankedList, album: Album) -> None:
    _picture(axes, shown.query, album)
    _frame(axes, style.INK, "solid")
    axes.set_title(f"{shown.group}\nAP {100 * shown.ap:.1f} %", fontsize=7.5, fontweight="bold")
    axes.set_xlabel(f"camera {album.camera(shown.query)}", fontsize=7, parse_math=False)


def _answer(axes: Axes, answer: Answer, album: Album) -> None:
    _picture(axes, answer.sample, album)
    colour = style.RIGHT if answer.right else style.WRONG
    _frame(axes, colour, "solid" if answer.right else (0, (3, 1.6)))
    sign = RIGHT if answer.right else WRONG
    axes.set_title(f"{answer.rank} {sign}\n{answer.score:.3f}", fontsize=7.5, color=colour)
    axes.set_xlabel(f"camera {album.camera(answer.sample)}", fontsize=7, parse_math=False)


def _picture(axes: Axes, sample: Sample, album: Album) -> None:
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    found = album.image(sample)
    if found is None:
        axes.set_xlim(0, _TILE[0])
        axes.set_ylim(_TILE[1], 0)
        axes.set_aspect("equal")
        axes.text(
            _TILE[0] / 2, _TILE[1] / 2, "no image", ha="center", va="center", fontsize=7, color=style.FAINT
        )
    else:
        axes.imshow(_tile(found), interpolation="nearest", aspect="equal")


def _tile(rgb: UInt8Array) -> UInt8Array:
    """Return an image as large as its tile, with its own proportions, on grey."""
    size = (2 * _TILE[0], 2 * _TILE[1])
    image = ImageOps.contain(Image.fromarray(rgb), size, Image.Resampling.BILINEAR)
    tile = Image.new("RGB", size, (128, 128, 128))
    tile.paste(image, ((tile.width - image.width) // 2, (tile.height - image.height) // 2))
    return np.asarray(tile)


def _frame(axes: Axes, colour: str, line: object) -> None:
    axes.add_patch(
        Rectangle(
            (0, 0),
            1,
            1,
            transform=axes.transAxes,
            fill=False,
            clip_on=False,
            edgecolor=colour,
            linewidth=2.2,
            linestyle=line,
        )
    )
