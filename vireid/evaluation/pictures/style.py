"""How every picture looks and how it is written: one palette, one set of sizes, the same bytes each time.

matplotlib's settings are global, so they are in force only while a picture is drawn or written, one at a time. Needs
the extra ``evaluation``.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from vireid.errors import MissingExtra

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
except ModuleNotFoundError as error:
    raise MissingExtra("pictures need matplotlib; run: pip install 'vireid[evaluation]'") from error

__all__ = ["Axes", "Figure", "LogLocator", "NullFormatter", "Rectangle"]

# Okabe and Ito: told apart with any kind of colour vision; never the only sign
INK, FAINT, GRID, PAPER = "#1b2430", "#5b6675", "#dfe4ea", "#ffffff"
FIRST, SECOND = "#0072b2", "#c4500a"
RIGHT, WRONG = "#00795a", "#c2410c"

_FONT = "DejaVu Sans"  # comes with matplotlib; where words stay words, a reader may not have it
WIDTH, HEIGHT = 4.6, 3.4  # inches
DPI = 200
SYNTHETIC = "SYNTHETIC IMAGES"

_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 72,
    "figure.facecolor": PAPER,
    "font.family": _FONT,
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.borderaxespad": 0.6,
    "legend.facecolor": PAPER,
    "legend.edgecolor": GRID,
    "legend.fontsize": 8.5,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.8,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vireid",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}
_ONE_AT_A_TIME = RLock()

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Put the settings in force while a picture is drawn or written."""

    @wraps(draw)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with _ONE_AT_A_TIME, mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_SETTINGS)
            return draw(*args, **kwargs)

    return within


def figure(width: float = WIDTH, height: float = HEIGHT, title: str = "") -> Figure:
    """Return an empty figure of a size in inches; no window and no list of figures knows it."""
    made = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    if title:
        headline(made, title)
    return made


def headline(made: Figure, title: str, **place: float) -> None:
    """Put a title above a figure, at its own place or where the layout puts it."""
    made.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold", parse_math=False, **place)


def percents(*axes: Axis) -> None:
    """Say shares of 1 as percent along axes."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def band(trials: int) -> str:
    """Say what the band around a line is."""
    return f"lowest to highest of {trials} trials"


def line(numbers: Sequence[int]) -> str:
    """Say what a line is."""
    return f"mean of {len(numbers)} trials" if len(numbers) > 1 else f"trial {numbers[0]}"


@styled
def svg(picture: Figure) -> str:
    """Return a figure as SVG with its words as text."""
    out = io.StringIO()
    picture.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().replace(f"'{_FONT}'", f"'{_FONT}', Verdana, sans-serif")


@styled
def png(picture: Figure) -> bytes:
    """Return a figure as PNG."""
    out = io.BytesIO()
    picture.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def save(folder: Path, pictures: Mapping[str, Figure]) -> tuple[Path, ...]:
    """Write each picture under its name, as an SVG and a PNG file.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures.items():
        written += [folder / f"{name}.svg", folder / f"{name}.png"]
        written[-2].write_text(svg(picture), encoding="utf-8", newline="\n")
        written[-1].write_bytes(png(picture))
    return tuple(written)
