"""What two sets of items differ in, found while both go by: of each item of one set a line of checksums is kept.

Knows not where they come from.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from index.neutral import Entry

VECTOR = "embedding"
FIELDS = (VECTOR, "modality", "person", "camera", "captured_at", "attributes", "sha256", "expires_at")
SUM_BYTES = 8


@dataclass(slots=True)
class Differences:
    """What was found; ids in the order in which they came.

    Attributes:
        same: items that are in both and agree.
        missing: ids of the first that the second lacks.
        extra: ids of the second that the first lacks.
        differing: ids that are in both, and what they differ in.
        duplicates: ids that one of both has more than once; the first of them counts.
    """

    same: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    differing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.missing or self.extra or self.differing or self.duplicates)


def compare(first: Iterable[Entry], second: Iterable[Entry], embeddings: bool = True) -> Differences:
    """Compare items by their ids: all that is told of them, and their embeddings bit for bit.

    When they were enrolled, our ids of them and whether pictures are kept is each gallery's own and not compared.

    Args:
        first: items; 0.3 kB of each are kept.
        second: items, of which only their ids are kept where the first lacks them.
        embeddings: False where they are of two spaces.
    """
    found, twice = Differences(), dict[str, None]()
    known: dict[str, bytes] = {}
    for item_id, sums in _summed(first, embeddings):
        if known.setdefault(item_id, sums) is not sums:
            twice[item_id] = None
    extra, met = dict[str, None](), b""
    for item_id, sums in _summed(second, embeddings):
        before = known.get(item_id)
        if before == met or item_id in extra:
            twice[item_id] = None
        elif before is None:
            extra[item_id] = None
        else:
            known[item_id] = met
            if before == sums:
                found.same += 1
            else:
                found.differing[item_id] = tuple(_names(before, sums))
    found.missing = [item_id for item_id, sums in known.items() if sums != met]
    found.extra, found.duplicates = list(extra), list(twice)
    return found


def _summed(entries: Iterable[Entry], embeddings: bool) -> Iterator[tuple[str, bytes]]:
    for entry in entries:
        item, meta = entry.item, entry.item.meta
        told = (
            entry.vector.tobytes() if embeddings else b"",
            item.modality.word.encode(),
            meta.person.encode(),
            meta.camera.encode(),
            str(meta.captured_at).encode(),
            json.dumps(dict(meta.attributes), sort_keys=True).encode(),
            item.sha256.encode(),
            str(item.expires_at).encode(),
        )
        yield item.item_id, b"".join([blake2b(one, digest_size=SUM_BYTES).digest() for one in told])


def _names(one: bytes, other: bytes) -> Iterator[str]:
    for at, name in enumerate(FIELDS):
        here = slice(at * SUM_BYTES, (at + 1) * SUM_BYTES)
        if one[here] != other[here]:
            yield name
