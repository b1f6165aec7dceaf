"""Where the images of each label are, and an epoch-long walk through them. Knows no batches."""

import numpy as np

from vireid.arrays import Int64Array

OUTLIER = -1


class Places:
    """The images of each label.

    Args:
        labels: of every image, -1 for those that are left out, (N,).
        cameras: of every image, (N,); None to tell none apart.

    Attributes:
        all: every image that is not left out.
        labels: the images of each label.
    """

    def __init__(self, labels: Int64Array, cameras: Int64Array | None = None) -> None:
        self.all = np.flatnonzero(labels != OUTLIER)
        order = self.all[np.argsort(labels[self.all], kind="stable")]
        names, starts = np.unique(labels[order], return_index=True)
        self.labels: dict[int, Int64Array] = dict(
            zip(names.tolist(), np.split(order, starts[1:]) if len(names) else [], strict=True)
        )
        self._cameras = cameras

    def by_camera(self, label: int) -> list[Int64Array]:
        """Return the images of a label, those of each camera apart; all together where no cameras are told."""
        places = self.labels[label]
        if self._cameras is None:
            return [places]
        order = places[np.argsort(self._cameras[places], kind="stable")]
        starts = np.unique(self._cameras[order], return_index=True)[1]
        return np.split(order, starts[1:])


class Walk:
    """Goes through the images of every label, each once before any comes again.

    Where cameras are told, a label's images come from as many of them as it has, and each camera's come once before any
    of that camera comes again.

    Args:
        places: of images.
        random: source of chance.
    """

    def __init__(self, places: Places, random: np.random.Generator) -> None:
        self._places, self._random = places, random
        self._waiting: dict[int, list[list[int]]] = {}

    def count(self, label: int) -> int:
        """Count the images of a label."""
        return len(self._places.labels[label])

    def next(self, label: int, count: int) -> list[int]:
        """Take the next images of a label; none stands among them twice unless there are fewer than ``count``.

        Args:
            label: whose.
            count: how many.
        """
        of = self._places.by_camera(label)
        waiting = self._waiting.setdefault(label, [[] for _ in of])
        taken: list[int] = []
        while len(taken) < count:
            # once through all images of the label: one of every camera, then a second of every camera, and so on
            shown: set[int] = set()
            for turn in range(max(map(len, of))):
                for camera in self._random.permutation(len(of)).tolist():
                    if turn < len(of[camera]) and len(taken) < count:
                        image = self._one(of[camera], waiting[camera], shown)
                        shown.add(image)
                        taken.append(image)
        return taken

    def _one(self, of: Int64Array, waiting: list[int], shown: set[int]) -> int:
        if not waiting:
            # those that were just taken come last
            waiting += sorted(self._random.permutation(of).tolist(), key=shown.__contains__)
        return waiting.pop(0)
