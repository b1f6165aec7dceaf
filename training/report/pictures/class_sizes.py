"""How many images each class has, largest first: flat where labels are shared out, steep where few classes take all."""

from collections.abc import Mapping

import numpy as np

from training.report.pictures.curves import SIZE
from vireid.arrays import Int64Array
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, styled

_LOOKS = ((style.FIRST, "-"), (style.SECOND, (0, (4, 1.5))))


@styled
def class_sizes(counts: Mapping[str, Int64Array], title: str = "") -> Figure:
    """Draw one or two sets of classes.

    Args:
        counts: images of each class, by what the legend calls them; each is sorted by itself, (K,).
        title: above the picture.
    """
    made = style.figure(*SIZE, title=title)
    axes = made.add_subplot()
    most = 1
    for (name, sizes), (colour, dashes) in zip(counts.items(), _LOOKS, strict=False):
        falling = np.sort(sizes)[::-1]
        edges = np.arange(len(falling) + 1) + 0.5
        axes.stairs(falling, edges, fill=True, color=colour, alpha=0.18, linewidth=0)
        axes.stairs(falling, edges, color=colour, linewidth=1.6, linestyle=dashes, label=name)
        most = max(most, int(falling[0]) if len(falling) else 0)
    axes.set_xlim(0.5, max(len(sizes) for sizes in counts.values()) + 0.5)
    axes.set_ylim(0, 1.15 * most)
    axes.set_xlabel("classes, the largest first")
    axes.set_ylabel("images of the class")
    axes.legend(loc="upper right")
    return made
