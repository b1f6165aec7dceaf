"""Items of a gallery as a test set."""

from pathlib import Path

import numpy as np
import pytest

from index.answers import Labelled
from server import labelled
from vireid.evaluation import provenance
from vireid.types import Modality


def items(rows: list[tuple[str, str, str, Modality]], version: int = 1) -> Labelled:
    ids, persons, cameras, modalities = zip(*rows, strict=True)
    vectors = np.arange(2 * len(rows), dtype=np.float32).reshape(-1, 2)
    return Labelled(ids, persons, cameras, np.array(modalities, np.int64), vectors, version)


ROWS = [
    ("c", "zoe", "2", Modality.VISIBLE),
    ("a", "amir", "10", Modality.INFRARED),
    ("b", "zoe", "3", Modality.VISIBLE),
    ("d", "li", "2", Modality.INFRARED),
]


def test_items_are_in_the_order_of_their_ids_however_they_are_stored() -> None:
    side = labelled.side(items(ROWS), Modality.VISIBLE)
    assert (side.item_ids, side.persons, side.cameras) == (("b", "c"), ("zoe", "zoe"), ("3", "2"))
    np.testing.assert_array_equal(side.vectors, [[4, 5], [0, 1]])


def test_names_alike_on_both_sides_are_the_same_person() -> None:
    query = labelled.side(items([("q", "zoe", "1", Modality.INFRARED)]), Modality.INFRARED)
    gallery = labelled.side(
        items([("g", "zoe", "1", Modality.VISIBLE), ("h", "amir", "2", Modality.VISIBLE)]), Modality.VISIBLE
    )
    case = labelled.test_set(query, gallery, "ab" * 32)
    assert case.dataset.query.persons.tolist() == [1]
    assert case.dataset.gallery.persons.tolist() == [1, 0]
    assert case.dataset.query.cameras.tolist() == [1]
    assert case.dataset.query.samples[0].path == Path("q")
    assert (case.space_id, case.given, case.flip) == ("ab" * 32, True, "given")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["2", "3", "10"], True),
        (["0", "2"], True),
        (["2", "gate"], False),
        (["02", "2"], False),  # two cameras, not one
        (["²", "3"], False),
        (["٣", "3"], False),  # a digit, but written otherwise
        (["", "3"], False),
        (["9" * 30, "3"], False),  # beyond 64 bits
    ],
)
def test_cameras_that_are_numbers_keep_theirs(names: list[str], numbers: bool) -> None:
    assert labelled.are_numbers(names) is numbers
    rows = [(f"i{n}", "p", name, Modality.VISIBLE) for n, name in enumerate(names)]
    side = labelled.side(items(rows), Modality.VISIBLE)
    found = labelled.test_set(side, side, "").dataset.query.cameras.tolist()
    assert found == ([int(name) for name in names] if numbers else [sorted(names).index(n) for n in names])
    assert len(set(found)) == len(names)


def test_the_list_of_items_is_hashed_with_who_is_on_them() -> None:
    def sha256(rows: list[tuple[str, str, str, Modality]]) -> str:
        side = labelled.side(items(rows), Modality.VISIBLE)
        case = labelled.test_set(side, side, "")
        return provenance.image_list(case.dataset.query, case.dataset.root).sha256

    assert sha256(ROWS) == sha256(ROWS[::-1])
    relabelled = [(i, "amir" if i == "b" else p, c, m) for i, p, c, m in ROWS]
    assert sha256(ROWS) != sha256(relabelled)
