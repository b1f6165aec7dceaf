"""Labelled items of galleries as a test set, the way ``vireid evaluate`` takes one.

Persons and cameras are names in a gallery and numbers in an evaluation. Items are in the order of their ids, so that
nothing depends on how a gallery stores them. Knows no protocol and no job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.answers import Labelled
from index.centres import Centres, applied
from vireid.arrays import Float32Array
from vireid.datasets.split import Dataset, Split
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case
from vireid.types import Modality, Sample

DATASET = "gallery"
_DIGITS = 18  # so many always fit into 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What asks, or what is found.

    Attributes:
        modality: of all items.
        item_ids: ascending, N of them.
        persons: N names.
        cameras: N names.
        vectors: unit rows, (N, D).
    """

    modality: Modality
    item_ids: tuple[str, ...]
    persons: tuple[str, ...]
    cameras: tuple[str, ...]
    vectors: Float32Array


def side(labelled: Labelled, modality: Modality, centres: Centres | None = None) -> Side:
    """Return the items of one modality, with their vectors brought to some centres."""
    rows = np.flatnonzero(labelled.modalities == int(modality)).tolist()
    rows.sort(key=labelled.item_ids.__getitem__)

    def of(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names[row] for row in rows)

    vectors = applied(centres, labelled.vectors[np.array(rows, np.int64)], [modality] * len(rows))
    return Side(modality, of(labelled.item_ids), of(labelled.persons), of(labelled.cameras), vectors)


def are_numbers(cameras: Sequence[str]) -> bool:
    """Whether names of cameras are numbers, which they then keep."""
    return all(
        name.isascii() and name.isdecimal() and len(name) <= _DIGITS and name == str(int(name))
        for name in set(cameras)
    )


def test_set(query: Side, gallery: Side, space_id: str) -> Case:
    """Put two sides together; names that are alike on both get the same number."""
    persons = _numbers(query.persons + gallery.persons)
    cameras = query.cameras + gallery.cameras
    places = {name: int(name) for name in cameras} if are_numbers(cameras) else _numbers(cameras)

    def split(name: str, items: Side) -> Split:
        rows = zip(items.item_ids, items.persons, items.cameras, strict=True)
        return Split(name, tuple(Sample(Path(i), persons[p], places[c], items.modality) for i, p, c in rows))

    dataset = Dataset(
        name=DATASET,
        root=Path(),
        train=Split("train", ()),
        query=split("query", query),
        gallery=split("gallery", gallery),
    )
    return Case(dataset, Features(query.vectors, gallery.vectors), space_id=space_id, given=True)


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}
