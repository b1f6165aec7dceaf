"""A picture of what backends find and how long they take. Needs the extra ``evaluation``."""

from collections.abc import Sequence

from index.recall import Measured
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, styled

MARKS = "osD^v<>P"


@styled
def recall(found: Sequence[Measured], level: int, title: str = "") -> Figure:
    """Draw each backend where its time and its recall meet.

    Args:
        found: what was measured.
        level: the k of the recall.
        title: above the picture.
    """
    made = style.figure(title=title)
    axes = made.add_subplot()
    for at, one in enumerate(found):
        axes.plot(
            [one.p50_ms, one.p95_ms],
            [one.recall[level]] * 2,
            color=style.FIRST if one.recall[level] == 1 else style.SECOND,
            marker=MARKS[at % len(MARKS)],
            markersize=5,
            label=one.name,
        )
    axes.set_xscale("log")
    lowest = min(one.recall[level] for one in found)
    axes.set_ylim(max(0.0, lowest - 0.2 * (1 - lowest) - 0.01), 1.01)
    style.percents(axes.yaxis)
    axes.set_xlabel("Milliseconds a query, median to 95th percentile")
    axes.set_ylabel(f"Recall@{level} in percent")
    axes.legend(loc="lower right")
    return made
