"""The learning rate over a run, as a share of its highest. Knows no optimiser."""

import math

from training.settings import ScheduleSettings

# of the highest rate, where the linear growth begins
FIRST_SHARE = 0.1


def share(at: float, wanted: ScheduleSettings, epochs: int) -> float:
    """Return the share of the full learning rate: linear growth, then a half cosine or steps.

    A stepped one is that of Wang et al., Optimal Transport for Label-Efficient Visible-Infrared Person
    Re-Identification, ECCV 2022: constant within an epoch, (e+1)/W in the first W.

    Args:
        at: epochs done, fractions of one too.
        wanted: the shape.
        epochs: in all.
    """
    if wanted.stepped:
        at = math.floor(at)
        if at < wanted.warmup_epochs:
            return (at + 1) / wanted.warmup_epochs
    if at < wanted.warmup_epochs:
        return FIRST_SHARE + (1 - FIRST_SHARE) * at / wanted.warmup_epochs
    if wanted.name == "step":
        return float(wanted.factor ** sum(at >= epoch for epoch in wanted.at))
    done = (at - wanted.warmup_epochs) / max(1e-9, epochs - wanted.warmup_epochs)
    return 0.5 * (1 + math.cos(math.pi * done))
