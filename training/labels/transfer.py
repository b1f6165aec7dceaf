"""Labels handed from modality to modality until they agree with who is like whom: MULT's label transfer.

Each label space belongs to one modality, whose clusters are its classes; its images begin with soft labels, those of the
guest modality with hard ones. Then each side in turn takes the labels of the other by heterogeneous affinities, keeps a
share of what it began with, and is smoothed by homogeneous ones. Rows stay probabilities. Knows neither features nor
modalities.

He et al., Exploring Homogeneous and Heterogeneous Consistent Label Associations for Unsupervised Visible-Infrared Person
ReID, arXiv 2402.00672, 2024, equation 16; the asymmetric order and the published stopping rule are the authors' code's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from training.labels.affinity import FloatArray
from vireid.arrays import Int64Array
from vireid.errors import TrainingError

Stop = Literal["change", "published"]
Labelling = Callable[[FloatArray], FloatArray]

PUBLISHED_LIMIT, PUBLISHED_SWEEPS = 1e-2, 20


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One modality in a label space.

    Attributes:
        start: labels its images begin with, rows that sum to 1, (N, C).
        take: makes labels of its images from those of the other modality's, by heterogeneous affinities.
        smooth: averages labels of its images by homogeneous affinities.
    """

    start: FloatArray
    take: Labelling
    smooth: Labelling


@dataclass(frozen=True, slots=True, eq=False)
class Transferred:
    """Labels of both modalities in one label space.

    Attributes:
        owner: soft labels of the modality the space belongs to, (N, C).
        guest: of the other, (M, C).
        errors: what the stopping rule saw after each sweep.
        converged: whether it was met.
    """

    owner: FloatArray
    guest: FloatArray
    errors: tuple[float, ...]
    converged: bool

    @property
    def sweeps(self) -> int:
        """How many there were."""
        return len(self.errors)


@dataclass(frozen=True, slots=True)
class Recursion:
    """How labels are handed to and fro.

    Attributes:
        alpha: share of the labels that both sides began with.
        symmetric: let the guest take the owner's smoothed labels, as the paper's equation reads. In the order of the
            published code it takes what the owner has before: the owner's homogeneous affinities shape its own
            labels alone and never the guest's.
        stop: ``change``: once no row of the guest's labels changed by more than the tolerance (sum of absolute
            values), from which all else follows; ``published``: once the labels of neither side changed by more
            than a hundredth on average, or after 20 sweeps.
        tolerance: of ``change``. A sweep shrinks what is left by (1 - alpha) squared at least.
        max_sweeps: of ``change``.
    """

    alpha: float = 0.2
    symmetric: bool = False
    stop: Stop = "change"
    tolerance: float = 1e-3
    max_sweeps: int = 100

    def __post_init__(self) -> None:
        """Raises TrainingError for what is out of range."""
        if not 0 <= self.alpha <= 1:
            raise TrainingError(f"alpha is {self.alpha}; expected a share from 0 to 1")
        if self.stop not in get_args(Stop):
            raise TrainingError(f"stop is {self.stop!r}; expected one of {', '.join(get_args(Stop))}")
        if not self.tolerance > 0 or self.max_sweeps < 1:
            raise TrainingError(
                f"tolerance is {self.tolerance} and max_sweeps {self.max_sweeps}; expected above 0 and at least 1"
            )


def transfer(owner: Side, guest: Side, wanted: Recursion = Recursion()) -> Transferred:
    """Hand labels to and fro.

    Args:
        owner: the modality whose clusters are the classes.
        guest: the other.
        wanted: the order, and when to stop.

    Raises:
        TrainingError: sides that do not share a space.
    """
    if owner.start.shape[1] != guest.start.shape[1]:
        raise TrainingError(
            f"the sides have {owner.start.shape[1]} and {guest.start.shape[1]} classes; expected the same space"
        )
    published = wanted.stop == "published"
    # where nobody reads them before the end, the owner's labels are smoothed once
    watched = published or wanted.symmetric
    mine, theirs = owner.start, guest.start
    errors: list[float] = []
    converged = False
    while not converged and len(errors) < (PUBLISHED_SWEEPS if published else wanted.max_sweeps):
        taken = _taken(owner, theirs, wanted.alpha)
        smoothed = owner.smooth(taken) if watched else taken
        after = guest.smooth(_taken(guest, smoothed if wanted.symmetric else taken, wanted.alpha))
        if published:
            errors.append(max(_relative(mine, smoothed), _relative(theirs, after)))
            converged = errors[-1] <= PUBLISHED_LIMIT
        else:
            errors.append(float(np.abs(after - theirs).sum(1).max()))
            converged = errors[-1] <= wanted.tolerance
        mine, theirs = smoothed, after
    return Transferred(mine if watched else owner.smooth(mine), theirs, tuple(errors), converged)


def hard(labels: FloatArray) -> Int64Array:
    """Return the greatest label of each row, the first of equal ones, (N,)."""
    greatest: Int64Array = labels.argmax(1).astype(np.int64)
    return greatest


def sharpened(labels: FloatArray, beta: float) -> FloatArray:
    """Mix soft labels with their hard form, whose share is beta, (N, C)."""
    made = labels * labels.dtype.type(1 - beta)
    made[np.arange(len(labels)), labels.argmax(1)] += beta
    return made


def _taken(side: Side, others: FloatArray, alpha: float) -> FloatArray:
    made = side.take(others)
    made *= made.dtype.type(1 - alpha)
    made += side.start * side.start.dtype.type(alpha)
    return made


def _relative(before: FloatArray, after: FloatArray) -> float:
    return float(np.abs(after - before).sum() / np.abs(before).sum())
