"""What becomes of images that no cluster took: dropped, a class of their own, or kept without one.

Knows no clustering.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vireid.arrays import BoolArray, Int64Array
from vireid.errors import TrainingError

Policy = Literal["drop", "singleton", "keep"]
OUTLIER = -1


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Labels after a policy.

    Attributes:
        labels: classes from 0 without a gap, -1 for none, (N,).
        used: which images are trained on, (N,).
    """

    labels: Int64Array
    used: BoolArray


def renumber(labels: Int64Array) -> Int64Array:
    """Number classes from 0 without a gap, in ascending order; what is below 0 becomes -1, (N,)."""
    made = np.full(len(labels), OUTLIER, dtype=np.int64)
    inside = labels >= 0
    made[inside] = np.unique(labels[inside], return_inverse=True)[1]
    return made


def settle(labels: Int64Array, policy: Policy) -> Settled:
    """Renumber the classes and give outliers what the policy says.

    Args:
        labels: class of each image, below 0 for outliers, (N,).
        policy: ``drop`` trains without them, ``singleton`` makes each a class of its own after the others,
            ``keep`` trains with them unlabelled, for losses that need no class.

    Raises:
        TrainingError: another policy, or ``drop`` leaves no image.
    """
    if policy not in get_args(Policy):
        raise TrainingError(f"outlier policy {policy!r}; expected one of {', '.join(get_args(Policy))}")
    made = renumber(labels)
    outlier = made == OUTLIER
    if policy == "singleton":
        made[outlier] = made.max(initial=OUTLIER) + 1 + np.arange(outlier.sum())
    if policy == "drop" and outlier.all():
        raise TrainingError(
            f"all {len(labels)} images are outliers, so dropping them leaves none; raise eps, or use singleton"
        )
    return Settled(made, ~outlier if policy == "drop" else np.ones(len(made), dtype=np.bool_))
