"""Batch buckets: narrow ranges of batch sizes, each of which a TensorRT plan is tuned for. Knows no runtime.

Several narrow ranges are faster than one wide one, because kernels are chosen for the size that is usual in each.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vireid.errors import SettingsError

MOST = 4096
RANGE = re.compile(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A range of batch sizes.

    Attributes:
        least: the smallest batch.
        usual: the batch that kernels are chosen for.
        most: the largest batch.
    """

    least: int
    usual: int
    most: int

    def __str__(self) -> str:
        return str(self.most) if self.least == self.most else f"{self.least}-{self.most}"


BUCKETS = (Bucket(1, 1, 1), Bucket(2, 8, 8), Bucket(9, 32, 32), Bucket(33, 128, 128))


def parse(words: str) -> tuple[Bucket, ...]:
    """Read buckets from words like ``1,2-8,9-32``; the largest batch of each is its usual one.

    Raises:
        SettingsError: no such list, or one that leaves a batch size out or has it twice.
    """
    buckets: list[Bucket] = []
    for word in words.split(","):
        match = RANGE.fullmatch(word)
        if match is None:
            raise SettingsError(f"found the bucket {word!r}; expected a list like 1,2-8,9-32,33-128")
        least = int(match[1])
        most = int(match[2] or match[1])
        expected = buckets[-1].most + 1 if buckets else 1
        if least != expected or not least <= most <= MOST:
            raise SettingsError(
                f"found the bucket {word.strip()!r}; expected one that begins at {expected} and ends at {expected} to "
                f"{MOST}: buckets follow one another without a gap"
            )
        buckets.append(Bucket(least, most, most))
    return tuple(buckets)


def spelled(buckets: Sequence[Bucket]) -> str:
    """Write buckets as ``parse`` reads them."""
    return ",".join(str(bucket) for bucket in buckets)


def place(buckets: Sequence[Bucket], batch: int) -> int:
    """Return the number of the bucket that a batch falls into; the batch is no larger than the last one's most."""
    return next(number for number, bucket in enumerate(buckets) if batch <= bucket.most)


def parts(batch: int, most: int) -> Iterator[slice]:
    """Cut a batch into parts of at most ``most``."""
    for start in range(0, batch, most):
        yield slice(start, min(start + most, batch))
