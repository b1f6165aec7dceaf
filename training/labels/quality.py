"""How good pseudo-labels are, against who is truly on the images: for reports, never for training.

This is the one place among the labels that reads persons. Pairs of images are counted from how often each person and
class meet in each modality, never one by one. Knows no way of making labels.

The scores R_gt, R_ct, P_v, Q_v and their product R_plq are those that Wang et al., Optimal Transport for
Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022, print with their clusters.
"""

from dataclasses import dataclass

import numpy as np

from vireid.arrays import Int64Array
from vireid.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Agreement:
    """How pairs of images taken for one person agree with those that are one; NaN where there is no pair.

    Attributes:
        precision: of the pairs in one class, the share of one person.
        recall: of the pairs of one person, the share in one class.
    """

    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Quality:
    """A report on pseudo-labels.

    Attributes:
        images: how many.
        persons: how many persons are truly on them.
        clusters: classes of more than one image.
        r_gt: mean over persons of the largest share of their clustered images in one cluster.
        r_ct: mean over clusters of the share of their most frequent person.
        p_v: share of images in clusters.
        q_v: the smaller of the numbers of persons and clusters over the greater.
        r_plq: the mean of ``r_gt`` and ``r_ct``, times ``p_v``, times ``q_v``.
        ari: adjusted Rand index over all images, those without a class each one of its own.
        within: pairs of one modality.
        across: pairs of two modalities.
        accuracy: share of all images whose class is their person; None where classes stand for nobody.
    """

    images: int
    persons: int
    clusters: int
    r_gt: float
    r_ct: float
    p_v: float
    q_v: float
    r_plq: float
    ari: float
    within: Agreement
    across: Agreement
    accuracy: float | None


def assess(
    person: Int64Array,
    label: Int64Array,
    modality: Int64Array | None = None,
    class_person: Int64Array | None = None,
) -> Quality:
    """Hold pseudo-labels against the truth.

    Args:
        person: who is on each image, (N,).
        label: class of each image, below 0 for none, (N,).
        modality: of each image, 0 or 1, (N,); all the same where None.
        class_person: the person each class stands for, where labels were taken over from known ones, (K,).

    Raises:
        TrainingError: arrays of several lengths, no image, or a label beyond the classes.
    """
    modality = np.zeros_like(person) if modality is None else modality
    if not len(person) == len(label) == len(modality) or not len(person):
        raise TrainingError(
            f"{len(person)} persons, {len(label)} labels and {len(modality)} modalities; expected one of each an image"
        )
    who, own = _numbers(person), _alone(label)
    clustered = np.bincount(own)[own] > 1
    table = _Meetings.of(who[clustered], own[clustered])
    persons, clusters = int(who.max()) + 1, len(np.unique(own[clustered]))
    r_gt, r_ct = table.best_of_rows(), table.best_of_columns()
    p_v = float(clustered.mean())
    q_v = min(persons, clusters) / max(persons, clusters)
    within, across = _pairs(who, own, modality)
    return Quality(
        images=len(person),
        persons=persons,
        clusters=clusters,
        r_gt=r_gt,
        r_ct=r_ct,
        p_v=p_v,
        q_v=q_v,
        r_plq=(r_gt + r_ct) / 2 * p_v * q_v,
        ari=_adjusted_rand(who, own),
        within=within,
        across=across,
        accuracy=None if class_person is None else accuracy(person, label, class_person),
    )


def accuracy(person: Int64Array, label: Int64Array, class_person: Int64Array) -> float:
    """Return the share of images whose class stands for who is on them; those without a class are wrong.

    Args:
        person: who is on each image, (N,).
        label: class of each image, below 0 for none, (N,).
        class_person: who each class stands for, (K,).

    Raises:
        TrainingError: a label beyond the classes.
    """
    if label.max(initial=-1) >= len(class_person):
        raise TrainingError(f"label {label.max()} of {len(class_person)} classes; expected less")
    known = label >= 0
    return float((class_person[label[known]] == person[known]).sum() / len(person))


@dataclass(frozen=True, slots=True, eq=False)
class _Meetings:
    """How many images each row class and column class share; only those that share any."""

    row: Int64Array
    column: Int64Array
    size: Int64Array

    @staticmethod
    def of(row: Int64Array, column: Int64Array) -> "_Meetings":
        width = int(column.max(initial=0)) + 1
        cell, size = np.unique(row * width + column, return_counts=True)
        return _Meetings(cell // width, cell % width, size.astype(np.int64))

    def best_of_rows(self) -> float:
        return _mean_best_share(self.row, self.size)

    def best_of_columns(self) -> float:
        return _mean_best_share(self.column, self.size)


def _mean_best_share(group: Int64Array, size: Int64Array) -> float:
    """Return the mean over groups of their greatest part's share; 0 without groups."""
    if not len(group):
        return 0.0
    number = _numbers(group)
    best = np.zeros(number.max() + 1, dtype=np.int64)
    np.maximum.at(best, number, size)
    return float((best / np.bincount(number, weights=size)).mean())


def _pairs(who: Int64Array, own: Int64Array, modality: Int64Array) -> tuple[Agreement, Agreement]:
    """Count pairs within and across modalities by the images each group has in each."""
    cell = np.unique(who * (int(own.max()) + 1) + own, return_inverse=True)[1]
    together, taken, true = (_pair_counts(group, modality) for group in (cell, own, who))
    within, across = (
        Agreement(
            float(together[kind] / taken[kind]) if taken[kind] else float("nan"),
            float(together[kind] / true[kind]) if true[kind] else float("nan"),
        )
        for kind in (0, 1)
    )
    return within, across


def _pair_counts(group: Int64Array, modality: Int64Array) -> tuple[int, int]:
    """Return how many pairs are in one group: of one modality, and of two."""
    sizes = [
        np.bincount(group[modality == kind], minlength=int(group.max()) + 1) for kind in np.unique(modality)
    ]
    within = sum(int((n * (n - 1) // 2).sum()) for n in sizes)
    every = np.bincount(group)
    return within, int((every * (every - 1) // 2).sum()) - within


def _adjusted_rand(who: Int64Array, own: Int64Array) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(who, own))


def _numbers(values: Int64Array) -> Int64Array:
    """Number distinct values from 0, ascending."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _alone(label: Int64Array) -> Int64Array:
    """Number classes from 0, images without one each apart."""
    return _numbers(np.where(label < 0, label.max(initial=0) + 1 + np.arange(len(label)), label))
