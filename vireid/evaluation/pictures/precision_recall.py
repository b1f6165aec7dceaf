"""Precision over recall, as steps: the area under the mean is the mAP."""

import numpy as np

from vireid.arrays import Float64Array
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, styled

_MOST = 400  # steps that are drawn; more than that cannot be seen


@styled
def precision_recall(evidence: Evidence, title: str = "") -> Figure:
    """Draw the mean of the trials and the band from the lowest to the highest at each recall.

    Args:
        evidence: what was gathered.
        title: above the picture.
    """
    curve = evidence.curve
    recall = curve.recall if len(curve.recall) <= _MOST else np.arange(1, _MOST + 1) / _MOST
    trials = np.array([t.curve.at(recall) for t in evidence.trials])
    made = style.figure(title=title)
    axes = made.add_subplot()
    edges = np.append(0.0, recall)
    if len(trials) > 1:
        axes.fill_between(
            edges,
            _steps(trials.min(axis=0)),
            _steps(trials.max(axis=0)),
            step="pre",
            color=style.FIRST,
            alpha=0.22,
            linewidth=0,
            label=style.band(len(trials)),
        )
    of = style.line([t.number for t in evidence.trials])
    axes.step(
        edges,
        _steps(curve.at(recall)),
        where="pre",
        color=style.FIRST,
        label=f"{of}, area {100 * curve.area:.2f} % = mAP",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    style.percents(axes.xaxis, axes.yaxis)
    axes.set_xlabel("recall: share of a query's matches seen (%)")
    axes.set_ylabel("precision: share of right images\namong those seen (%)")
    axes.legend(loc="lower left" if curve.area > 0.5 else "upper right")
    return made


def _steps(precision: Float64Array) -> Float64Array:
    """Put the value of the first step at recall 0, where it begins."""
    return np.append(precision[0], precision)
