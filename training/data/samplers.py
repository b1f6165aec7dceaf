"""P identities x K images x two modalities, epoch after epoch; a pure function of seed and epoch, so resuming needs no state.

The identities are whatever labels it is given: true ones for a supervised method, pseudo-labels for others.
"""

from collections.abc import Iterator

import numpy as np

from vireid.arrays import Int64Array
from vireid.errors import TrainingError

OUTLIER = -1


class IdentitySampler:
    """Draws batches of indices.

    Args:
        labels: identity of each image, -1 for none, (N,).
        modality: 0 visible, 1 infrared, (N,).
        persons: P identities in a batch.
        images: K images of each identity in each modality.
        iterations: batches in an epoch, 0 for as many as show every image about once.
        seed: everything follows from it and the epoch.

    Raises:
        TrainingError: fewer than P identities have images in both modalities.
    """

    def __init__(
        self,
        labels: Int64Array,
        modality: Int64Array,
        *,
        persons: int,
        images: int,
        iterations: int,
        seed: int,
    ) -> None:
        self._places = [
            {
                int(label): np.flatnonzero((labels == label) & (modality == kind))
                for label in np.unique(labels)
            }
            for kind in (0, 1)
        ]
        paired = [
            label
            for label, places in self._places[0].items()
            if label != OUTLIER and len(places) and len(self._places[1][label])
        ]
        if len(paired) < persons:
            raise TrainingError(
                f"{len(paired)} identities have visible and infrared images, a batch needs {persons}; "
                "lower data.persons, or bring more people"
            )
        self._paired = np.array(sorted(paired), np.int64)
        self._persons, self._images, self._seed = persons, images, seed
        self._iterations = iterations or max(1, round(len(labels) / (2 * persons * images)))

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return self._iterations

    def epoch(self, number: int) -> Iterator[Int64Array]:
        """Draw the batches of one epoch.

        Yields:
            Indices, all visible ones first, identity by identity, (2 P K,).
        """
        random = np.random.default_rng([self._seed, number])
        waiting: list[int] = []
        for _ in range(self._iterations):
            if len(waiting) < self._persons:
                # every identity once before any comes again
                fresh = [int(label) for label in random.permutation(self._paired) if label not in waiting]
                waiting += fresh
            chosen, waiting = waiting[: self._persons], waiting[self._persons :]
            yield np.concatenate([self._draw(kind, label, random) for kind in (0, 1) for label in chosen])

    def _draw(self, kind: int, label: int, random: np.random.Generator) -> Int64Array:
        places = self._places[kind][label]
        # fewer than K images: all of them, then again
        rounds = [random.permutation(places) for _ in range(-(-self._images // len(places)))]
        return np.concatenate(rounds)[: self._images]
