"""The CMC: how often the person asked for is among the first r."""

import numpy as np

from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, styled
from vireid.evaluation.result import Result

LEVELS = {"identity": "persons", "image": "images"}
_SHORT = 20  # ranks that are shown at least
_MARKS = 30  # ranks up to which each gets a mark


@styled
def cmc(result: Result, title: str = "") -> Figure:
    """Draw the mean of the trials and the band from the lowest to the highest.

    Args:
        result: what was measured.
        title: above the picture.
    """
    curves = np.array([t.scores.cmc for t in result.trials])
    mean, least = curves.mean(axis=0), curves.min(axis=0)
    full = np.flatnonzero(least >= 1.0)
    last = min(len(mean), max(_SHORT, int(full[0]) + 1 if len(full) else len(mean)))
    rank = np.arange(1, last + 1)
    made = style.figure(title=title)
    axes = made.add_subplot()
    if len(curves) > 1:
        axes.fill_between(
            rank,
            least[:last],
            curves.max(axis=0)[:last],
            color=style.FIRST,
            alpha=0.22,
            linewidth=0,
            label=style.band(len(curves)),
        )
    axes.plot(
        rank,
        mean[:last],
        color=style.FIRST,
        marker="o" if last <= _MARKS else "",
        markersize=3.2,
        label=style.line([t.number for t in result.trials]),
    )
    axes.set_xlim(0.5, last + 0.5)
    axes.set_ylim(0, 1.02)
    axes.set_xticks([1, *(r for r in range(5, last + 1, 5 if last <= _MARKS else 10))])
    style.percents(axes.yaxis)
    axes.set_xlabel(f"rank r, counted in {LEVELS[result.protocol.cmc]}")
    axes.set_ylabel("found at rank r or before\n(% of valid queries)")
    axes.legend(loc="lower right" if mean[last // 2] > 0.4 else "upper left")
    return made
