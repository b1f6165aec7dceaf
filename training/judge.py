"""How good the pseudo-labels of an epoch are, by who is truly on the images; for the metrics alone.

A method never sees this: the composition root, which knows the true persons, gives it to the loop.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from training.labels import quality
from training.labels.pseudo import PseudoLabels
from vireid.arrays import Int64Array
from vireid.types import Modality

Judge = Callable[[PseudoLabels], dict[str, Any]]

MOST_SIZES = 1000  # classes whose sizes an epoch's line holds, the largest
NOBODY = -2  # stands for the person of a class without images; -1 is an image's unknown person


def judge(persons: Int64Array, modality: Int64Array) -> Judge:
    """Make what judges labels of these images.

    Args:
        persons: who is truly on each, (N,).
        modality: of each, (N,).

    Returns:
        A function from labels to numbers by name: how good they are over all images, and the share of each
        modality's images whose class stands for who is on them. A class stands for whoever most of its visible
        images show, and one without visible images for whoever most of its images show.
    """

    def judged(labels: PseudoLabels) -> dict[str, Any]:
        given = labels.labels[: len(persons)]
        # a modality that nobody labelled is left aside; so is a source set, whose images come after these
        of = {kind: modality == kind for kind in Modality if (given[modality == kind] >= 0).any()}
        of = of or {kind: modality == kind for kind in Modality if (modality == kind).any()}
        stands = represented(persons, given, modality)
        right = {kind.word: quality.accuracy(persons[rows], given[rows], stands) for kind, rows in of.items()}
        rows = np.isin(modality, list(of))
        found = asdict(quality.assess(persons[rows], given[rows], modality[rows], stands))
        return {**found, "accuracy": {**right, "all": found["accuracy"]}}

    return judged


def represented(persons: Int64Array, labels: Int64Array, modality: Int64Array) -> Int64Array:
    """Tell whom each class stands for, (K,)."""
    stands = np.full(int(labels.max(initial=-1)) + 1, NOBODY, np.int64)
    # the visible ones last: they have the last word
    for rows in (labels >= 0, (labels >= 0) & (modality == Modality.VISIBLE)):
        pairs, times = np.unique(np.stack([labels[rows], persons[rows]]), axis=1, return_counts=True)
        ascending = np.argsort(times, kind="stable")
        stands[pairs[0, ascending]] = pairs[1, ascending]
    return stands


def words(told: Mapping[str, Any], images: int) -> str:
    """Say in a line what an epoch's labels are, and how good where that is known.

    Args:
        told: what ``counted`` and a judge told.
        images: that there are.
    """
    said = [f"{told['classes']} classes"]
    if told["outliers"]:
        said.append(f"{told['outliers'] / images:.0%} of the images in none")
    right = {kind: share for kind, share in told.get("accuracy", {}).items() if share is not None}
    if right:
        said.append("right: " + ", ".join(f"{kind} {share:.0%}" for kind, share in right.items()))
    return "; ".join(said)


def counted(labels: PseudoLabels, modality: Int64Array) -> dict[str, Any]:
    """Count labels, without knowing anybody: classes, outliers, and the sizes of classes in each modality.

    Args:
        labels: of every image.
        modality: of each, (N,).
    """
    sizes = {}
    for kind in Modality:
        held = labels.labels[(modality == kind) & (labels.labels >= 0)]
        found = np.unique(held, return_counts=True)[1]
        sizes[kind.word] = np.sort(found)[::-1][:MOST_SIZES].tolist()
    return {
        "classes": labels.classes,
        "outliers": int(labels.outlier.sum()),
        "sha256": labels.sha256,
        "sizes": sizes,
    }
