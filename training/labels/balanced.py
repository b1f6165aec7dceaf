"""Neighbours drawn equally from two modalities, for a Jaccard distance that the gap between them does not rule.

Images of another modality are farther away whoever is on them, so among the nearest of all there are almost none of them, and
what is shared across modalities is lost. Modality-Aware Bias Mitigation and Invariance Learning for Unsupervised Visible-Infrared
Person Re-Identification, AAAI 2026. Knows no clusters.
"""

import numpy as np

from training.labels.neighbours import nearest_among, neighbours
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Modality


def balanced(features: Float32Array, modality: Int64Array, k: int) -> Int64Array:
    """Return neighbours of each row, alternately of its own modality and of the other, each by descending cosine.

    The first k of them are, for any k, one half of either; the row itself counts as one of its own. Where a modality
    has too few, the other fills the room.

    Args:
        features: one row an image, (N, D).
        modality: 0 or 1, (N,).
        k: how many, the row itself included.

    Returns:
        Row numbers, the row itself first, (N, min(k, N)).
    """
    k = min(k, len(features))
    made = np.empty((len(features), k), np.int64)
    places = [np.flatnonzero(modality == kind) for kind in Modality]
    for index, others in (places, places[::-1]):
        if not len(index):
            continue
        turns = _turns(len(index), len(others), k)
        wanted = int((turns == 0).sum()), int((turns == 1).sum())
        own = index[neighbours(features[index], wanted[0])]
        across = (
            others[nearest_among(features[index], features[others], wanted[1])] if wanted[1] else own[:, :0]
        )
        rows = np.empty((len(index), k), np.int64)
        rows[:, turns == 0], rows[:, turns == 1] = own, across
        made[index] = rows
    return made


def _turns(own: int, others: int, k: int) -> Int64Array:
    """Tell whose turn each place of a list is: 0 the row's own modality, 1 the other, (k,)."""
    turns, left = [], [own, others]
    for place in range(k):
        whose = place % 2 if left[place % 2] else 1 - place % 2
        left[whose] -= 1
        turns.append(whose)
    return np.array(turns, np.int64)
