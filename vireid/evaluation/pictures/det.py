"""The DET curve of an open search; ``vireid.evaluation.det`` says what is counted."""

import numpy as np

from vireid.evaluation.evidence import Evidence
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure, LogLocator, NullFormatter, styled

_POINTS = 300
_BUSY = 0.5  # an FPIR beyond which nobody would listen to alarms
_FEW = 2.5  # decades within which 2 and 5 are named too


@styled
def det(evidence: Evidence, title: str = "") -> Figure:
    """Draw FNIR against FPIR on logarithmic axes: the mean of the trials and the band from the least to the most.

    Args:
        evidence: what was gathered.
        title: above the picture.
    """
    curves = [t.det for t in evidence.trials]
    fewest = min(c.nonmated for c in curves)
    fpir = np.unique(np.concatenate([[1.0], *(c.fpir[c.fpir > 0] for c in curves)]))
    if len(fpir) > _POINTS:
        fpir = np.geomspace(fpir[0], 1, _POINTS)
    fnir = np.array([c.at(fpir) for c in curves])
    mean = fnir.mean(axis=0)
    low = max(
        0.5 / max(c.mated for c in curves), float(np.mean([c.at(np.array([_BUSY])) for c in curves])) / 2
    )
    made = style.figure(title=title)
    axes = made.add_subplot()
    if len(curves) > 1:
        axes.fill_between(
            fpir,
            np.maximum(fnir.min(axis=0), low / 10),  # a logarithmic axis has no zero
            np.maximum(fnir.max(axis=0), low / 10),
            step="post",
            color=style.FIRST,
            alpha=0.22,
            linewidth=0,
            label=style.band(len(curves)),
        )
    label = style.line([t.number for t in evidence.trials])
    axes.step(fpir, np.maximum(mean, low / 10), where="post", color=style.FIRST, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(1 / fewest, _BUSY), 1)
    axes.set_ylim(low, 1.1)
    for axis, decades in ((axes.xaxis, np.log10(fewest)), (axes.yaxis, -np.log10(low))):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < _FEW else (1.0,)))
        axis.set_minor_formatter(NullFormatter())
    style.percents(axes.xaxis, axes.yaxis)
    axes.grid(which="minor", linewidth=0.4)
    axes.set_xlabel("FPIR: strangers that raise an alarm\n(% of non-mated searches)")
    axes.set_ylabel("FNIR: persons that are missed\n(% of mated searches)")
    high = mean[len(mean) // 2] > np.sqrt(low)
    axes.legend(loc="lower left" if high else "upper right")
    return made
