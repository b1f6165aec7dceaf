"""Whether two engines put the same images first, and how well each finds people. Knows no engine and no bars."""

from dataclasses import dataclass

import numpy as np

from export.exam import Exam
from vireid.arrays import Float32Array, Float64Array, Int64Array
from vireid.evaluation import metrics
from vireid.evaluation.metrics import Labels
from vireid.types import Modality

TOP = (1, 10, 50)
TIED = 1e-6  # cosines nearer than this are equal: what is left is rounding


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Infrared asks, visible is found, nothing is excluded; fractions."""

    mean_ap: float
    rank1: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What two engines find on one exam.

    Attributes:
        agreement: share of the first k that both put there, mean over queries, by k; None where all are among the first k.
        source: accuracy of the source.
        candidate: accuracy of the candidate.
        chance: mean average precision of a random order.
        queries: how many images ask.
    """

    agreement: dict[int, float | None]
    source: Accuracy
    candidate: Accuracy
    chance: float
    queries: int

    @property
    def map_change(self) -> float:
        """By how many points of 100 the mean average precision rises."""
        return 100 * (self.candidate.mean_ap - self.source.mean_ap)

    @property
    def rank1_change(self) -> float:
        """By how many points of 100 Rank-1 rises."""
        return 100 * (self.candidate.rank1 - self.source.rank1)


def rank(source: Float32Array, candidate: Float32Array, exam: Exam) -> Ranking:
    """Compare the searches of two engines; infrared asks, visible is found.

    Args:
        source: its unit rows, (N, D).
        candidate: its unit rows, all finite, (N, D).
        exam: whom they show.
    """
    truth, found = similarity(source, exam), similarity(candidate, exam)
    return Ranking(
        agreement={k: agreement(truth, found, k) for k in TOP},
        source=_accuracy(truth, exam),
        candidate=_accuracy(found, exam),
        chance=_chance(exam),
        queries=len(truth),
    )


def similarity(rows: Float32Array, exam: Exam) -> Float64Array:
    """Return cosines of infrared to visible images, (infrared, visible)."""
    wide = rows.astype(np.float64)
    scores: Float64Array = wide[exam.of(Modality.INFRARED)] @ wide[exam.of(Modality.VISIBLE)].T
    return scores


def agreement(truth: Float64Array, found: Float64Array, k: int) -> float | None:
    """Return the share of the first k that two similarity matrices have in common, whatever their order.

    Images whose score equals that of the k-th may stand for one another.

    Returns:
        Mean over queries; None where there are no more than k images.
    """
    if truth.shape[1] <= k:
        return None
    at = truth.shape[1] - k
    true_last = np.partition(truth, at, axis=1)[:, at][:, None]
    found_last = np.partition(found, at, axis=1)[:, at][:, None]
    right = truth >= true_last - TIED
    sure = found > found_last + TIED
    tied = (found >= found_last - TIED) & ~sure
    agreed = (sure & right).sum(axis=1)
    room = k - sure.sum(axis=1)
    return float((agreed + np.minimum(room, (tied & right).sum(axis=1))).mean() / k)


def strangers(rows: Float32Array, person: Int64Array, modality: Int64Array) -> dict[str, float]:
    """Return the mean cosine of images of different people, by the modality they share."""
    means = {}
    for one in Modality:
        mine = modality == one
        wide, people = rows[mine].astype(np.float64), person[mine]
        different = people[:, None] != people[None, :]
        if different.any():
            means[one.word] = float((wide @ wide.T)[different].mean())
    return means


def _accuracy(scores: Float64Array, exam: Exam) -> Accuracy:
    asks, finds = exam.of(Modality.INFRARED), exam.of(Modality.VISIBLE)
    measured = metrics.scores(
        scores,
        Labels(exam.person[asks], exam.camera[asks]),
        Labels(exam.person[finds], exam.camera[finds]),
        rule="none",
    )
    return Accuracy(measured.mean_ap, measured.rank(1))


def _chance(exam: Exam) -> float:
    """Return what a random order scores on average.

    Of n images of which r are right, a right one stands at each place k with r - 1 others spread evenly, so the mean of its
    precision is 1/k + (r - 1)/(n - 1) (1 - 1/k), and each place is as likely as another.
    """
    asks, finds = exam.person[exam.of(Modality.INFRARED)], exam.person[exam.of(Modality.VISIBLE)]
    right = ((asks[:, None] == finds[None, :]) & (asks != metrics.UNKNOWN)[:, None]).sum(axis=1)
    right, count = right[right > 0], len(finds)
    first = float((1 / np.arange(1, count + 1)).mean())
    others = (right - 1) / max(count - 1, 1)
    return float((first + others * (1 - first)).mean())
