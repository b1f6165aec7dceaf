"""A centred gallery in its cache, its snapshots, another bundle's space, and at the moment of the switch."""

from pathlib import Path

import numpy as np
import pytest

from index import opening, restoration
from index.cache import SUFFIX, Cache
from index.centring import learn
from index.gallery import Gallery
from index.kept_centres import KeptCentres
from index.second_space import SecondSpace
from tests.index.centred import (
    MANY,
    Oracle,
    Some,
    agree,
    answers,
    ask,
    centres_of,
    filled,  # noqa: F401 - a fixture
    gallery_file,  # noqa: F401 - a fixture
    kind,
    leaning,
    people,  # noqa: F401 - a fixture
    row,
)
from tests.index.test_concurrency import together
from vireid.errors import VireidError


def test_the_cache_is_of_the_centres_it_was_written_with(
    gallery: Gallery, path: Path, monkeypatch: pytest.MonkeyPatch, some: Some
) -> None:
    monkeypatch.setattr(opening, "CACHED_FROM", 10)
    place = path.with_name(path.name + SUFFIX)
    plain = answers(gallery)
    gallery.centre(centres_of(gallery))
    centred = answers(gallery)
    gallery.close()
    kept = place.read_bytes()
    gallery = Gallery(path)
    assert gallery._cache.state is not None  # it was read from the cache
    assert answers(gallery) == centred
    gallery.enroll(some(range(MANY, MANY + 5)))  # and what came after is read from the file
    gallery.close()
    place.write_bytes(kept)
    gallery = Gallery(path)
    assert gallery._cache.state is not None
    oracle = Oracle(range(MANY))
    oracle.rows |= {f"i{n}": (row(n), kind(n)) for n in range(MANY, MANY + 5)}
    agree(gallery, oracle, range(MANY + 5))
    gallery.remove(ids=[f"i{n}" for n in range(MANY, MANY + 5)])
    gallery.uncentre()
    gallery.close()
    place.write_bytes(kept)  # of the time when it was centred
    gallery = Gallery(path)
    assert gallery._cache.state is None
    assert answers(gallery) == plain
    gallery.close()


def test_cached_rows_need_no_centring(path: Path, some: Some) -> None:
    """What the cache holds is what is searched: nothing is centred twice."""
    gallery = Gallery(path)
    gallery.enroll(some(range(MANY)))
    gallery.centre(centres_of(gallery))
    head = gallery.records.head
    Cache(path).write(head, gallery._holdings.table(), gallery._holdings.vectors)
    expected = answers(gallery)
    gallery.close()
    again = Gallery(path)
    assert again._cache.state is not None
    assert answers(again) == expected
    again.close()


def test_a_snapshot_holds_the_centres(gallery: Gallery, path: Path) -> None:
    plain = answers(gallery)
    without = gallery.snapshot()
    gallery.centre(centres_of(gallery))
    centred = answers(gallery)
    snapshot = gallery.snapshot()
    gallery.centre(centres_of(gallery, 0.1))
    gallery.compact()
    gallery.close()
    for source, expected in ((snapshot, centred), (without, plain), (snapshot, centred)):
        restoration.restore(source, path.parent.parent, replace=True)
        gallery = Gallery(path)
        assert answers(gallery) == expected
        gallery.close()
    gallery = Gallery(path)
    number = gallery.centres.number if gallery.centres else 0
    gallery.uncentre()
    assert answers(gallery) == plain
    gallery.centre(centres_of(gallery))
    assert gallery.centres is not None
    assert gallery.centres.number > number
    gallery.close()


def test_compaction_and_retention_leave_it_as_it_is(gallery: Gallery, path: Path) -> None:
    gallery.centre(centres_of(gallery))
    centred = answers(gallery)
    gallery.retain(1000)
    gallery.compact()
    gallery.expire()
    assert answers(gallery) == centred
    gallery.close()
    gallery = Gallery(path)
    assert answers(gallery) == centred
    gallery.close()


def second(gallery: Gallery, space: str, dim: int) -> None:
    other = SecondSpace(gallery.records)
    other.begin(space, dim)
    while rows := other.lacking(0, 1000):
        vectors = np.stack([leaning(("other", one.item.item_id), one.item.modality, dim) for one in rows])
        other.put([one.key for one in rows], vectors)


def test_another_bundle_has_centres_of_its_own(gallery: Gallery, path: Path) -> None:
    gallery.centre(centres_of(gallery))
    centred = answers(gallery)
    second(gallery, "6" * 64, 24)
    gallery.exchange()
    assert gallery.centres is None  # those of the space before say nothing here
    query = leaning(("other", "i5"), kind(5), 24)
    assert gallery.search(query[None], 1)[0].hits[0].item.item_id == "i5"
    gallery.centre(learn(gallery.records).centres(0.5))
    mine = ask(gallery, query, kind(5), 9).hits
    gallery.exchange()
    assert answers(gallery) == centred
    gallery.close()
    gallery = Gallery(path)
    assert answers(gallery) == centred
    gallery.exchange()
    assert ask(gallery, query, kind(5), 9).hits == mine
    gallery.uncentre()
    gallery.exchange()
    assert answers(gallery) == centred
    # a third space drops the second, and its centres
    gallery.exchange()
    gallery.centre(learn(gallery.records).centres(0.5))
    gallery.exchange()
    for space, kept in (("6", 2), ("7", 1)):
        second(gallery, space * 64, 24)
        with KeptCentres(gallery.records)._records.changing() as (db, _):
            assert db.execute("SELECT count(*) FROM centres").fetchone() == (kept,)
    gallery.exchange()
    assert gallery.centres is None
    gallery.close()


def test_a_search_during_the_switch_sees_one_space(gallery: Gallery) -> None:
    """All of an answer is of one space, that of the number it carries, or it is refused whole."""

    def told() -> tuple[int, list[tuple[str, float]]]:
        found = ask(gallery, row(7), kind(7), MANY)
        return found.centring, [(hit.item.item_id, hit.score) for hit in found.hits]

    centres = [centres_of(gallery, strength) for strength in (1.0, 0.5)]
    answered = {0.0: told()[1]}
    for one in centres:
        gallery.centre(one)
        answered[one.told.strength] = told()[1]
        gallery.uncentre()
    assert len({str(hits) for hits in answered.values()}) == 3
    strengths = {0: 0.0}
    refused: list[VireidError] = []
    seen: list[tuple[int, list[tuple[str, float]]]] = []

    def read(_: int) -> None:
        try:
            seen.append(told())
        except VireidError as error:
            refused.append(error)

    def write(turn: int) -> None:
        gallery.centre(centres[turn % 2])
        held = gallery.centres
        assert held is not None
        strengths[held.number] = held.told.strength
        if turn % 3 == 2:
            for _ in range(3):
                gallery.uncentre()

    together(2.0, write, read, read, read)
    assert {error.stable_reason for error in refused} <= {"CENTRING_CHANGED"}
    assert {strengths[number] for number, _ in seen} == {0.0, 0.5, 1.0}
    for number, hits in seen:
        assert hits == answered[strengths[number]]
    gallery.close()
