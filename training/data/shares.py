"""Which rows of a batch are whose, where several processes divide every batch between them. Knows no images."""

from dataclasses import dataclass

import numpy as np

from vireid.arrays import Int64Array
from vireid.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Share:
    """One process's share of every batch: the same slots of every part, so whole identities in both modalities.

    Attributes:
        place: of the process, from 0.
        count: of the processes.
    """

    place: int = 0
    count: int = 1

    def demand(self, persons: int) -> None:
        """See that a batch can be divided.

        Args:
            persons: P identities in a batch.

        Raises:
            TrainingError: it cannot.
        """
        if persons % self.count:
            above = -(-persons // self.count) * self.count
            raise TrainingError(
                f"data.persons is {persons}, and {self.count} processes divide every batch between them; expected a "
                f"multiple of {self.count}, for example --set data.persons={above}"
            )

    def rows(self, batch: int, parts: int) -> Int64Array:
        """Return the places of this share's rows, part by part.

        Args:
            batch: how many rows it has.
            parts: into which it falls, all of one length.
        """
        assert batch % (parts * self.count) == 0, (
            f"{batch} rows are not {parts} parts of {self.count} equal shares"
        )
        part, own = batch // parts, batch // parts // self.count
        slots = np.arange(own) + self.place * own
        return (slots + part * np.arange(parts)[:, None]).ravel()
