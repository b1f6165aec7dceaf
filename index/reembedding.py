"""Embed what a gallery holds anew, with another bundle, from the images it keeps. Knows no search.

The gallery goes on meanwhile: it is read in small steps, and what is made is durable step by step, so a work that was
cut short goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from index import limits
from index.kept_centres import KeptCentres
from index.records import Records
from index.rows import Row
from index.second_space import SecondSpace
from vireid.arrays import UInt8Array
from vireid.engines import Engine
from vireid.errors import VireidError
from vireid.images import decode as decoding
from vireid.images.preprocess import Preprocess

AT_ONCE = 32


@dataclass(slots=True)
class Report:
    """What a re-embedding did.

    Attributes:
        embedded: items.
        failures: id and reason of each item that could not be.
    """

    embedded: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def fill(records: Records, engine: Engine, preprocess: Preprocess, advance: Callable[[int], None]) -> Report:
    """Give every item a vector of an engine's space, until none lacks one that can have one.

    Args:
        records: of the gallery, which may be in use.
        engine: of the new bundle.
        preprocess: of the same.
        advance: told how many items were just dealt with.

    Raises:
        InvalidRequest: the gallery is in that space already.
        EngineError: the model could not be run.
        EmbeddingNotFinite: it made NaN or infinity of an image; what was made before stays.
        StorageError: the disk refuses; what was made before stays.
    """
    second, report, last = SecondSpace(records), Report(), 0
    second.begin(engine.space_id, engine.dim)
    KeptCentres(records).drop_damaged_second()
    while rows := second.lacking(last, AT_ONCE):
        last = rows[-1].key
        ready = [
            (row, image) for row in rows if (image := _image(records, row, preprocess, report)) is not None
        ]
        if ready:
            modalities = np.array([int(row.item.modality) for row, _ in ready], np.int64)
            vectors = engine.embed(np.stack([image for _, image in ready]), modalities)
            limits.check_embeddings(vectors, engine.dim)
            second.put([row.key for row, _ in ready], vectors)
            report.embedded += len(ready)
        advance(len(rows))
    return report


def _image(records: Records, row: Row, preprocess: Preprocess, report: Report) -> UInt8Array | None:
    try:
        data = records.pictures.image(row.key, row.item)
        return (
            None if data is None else preprocess.apply(decoding.decode(data).rgb)
        )  # None: it went meanwhile
    except VireidError as error:
        report.failures.append((row.item.item_id, f"{error.message} [{error.stable_reason}]"))
        return None
