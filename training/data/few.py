"""Identities with fewer than K images in a part of a batch: told of, or refused. Knows no sampler's chance."""

import logging

import numpy as np

from training.data.images import Images
from training.data.places import OUTLIER
from training.data.samplers import Draw
from training.settings import DataSettings
from vireid.arrays import Int64Array
from vireid.errors import TrainingError

log = logging.getLogger(__name__)

NAMED = 5  # identities a message names


class Few:
    """Looks at what batches are drawn from, epoch by epoch.

    Args:
        wanted: K, and what to do.
        images: name an identity by one of its files.
    """

    def __init__(self, wanted: DataSettings, images: Images) -> None:
        self._wanted, self._images = wanted, images
        self._told = ""

    def check(self, draw: Draw) -> None:
        """Warn of identities whose images are shown again within a batch; once, until the words change.

        Raises:
            TrainingError: there are some, and the recipe refuses them.
        """
        parts = ((place, part) for place, part in enumerate(draw.parts) if part.grouped and not part.fill)
        found = [words for place, part in parts for words in self._part(place, part.labels)]
        if not found:
            return
        if self._wanted.few == "refuse":
            raise TrainingError(
                f"{'; '.join(found)}; expected data.images={self._wanted.images} of each: bring more, lower data.images, "
                "or set data.few=repeat"
            )
        told = "; ".join(found)
        if told != self._told:
            log.warning("%s: some are shown again within a batch", told)
        self._told = told

    def _part(self, place: int, labels: Int64Array) -> list[str]:
        names, first, counts = np.unique(labels, return_index=True, return_counts=True)
        short = (names != OUTLIER) & (counts < self._wanted.images)
        if not short.any():
            return []
        named = [
            f"identity {name} ({self._images.name(int(at))}) has {count}"
            for name, at, count in list(zip(names[short], first[short], counts[short], strict=True))[:NAMED]
        ]
        more = f" and {int(short.sum()) - NAMED} more" if short.sum() > NAMED else ""
        return [
            f"part {place + 1} of a batch: {int(short.sum())} of {int((names != OUTLIER).sum())} identities have fewer "
            f"than {self._wanted.images} images: {', '.join(named)}{more}"
        ]
