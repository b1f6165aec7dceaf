"""A gallery that is centred: what it answers against NumPy, over every backend, and that its going back is exact."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from index import columns, opening
from index.answers import Labelled
from index.backends import BACKENDS, NEEDS_GPU, Maker
from index.faiss_gpu import GpuBackend
from index.gallery import Gallery
from index.holdings import Holdings
from index.rows import microseconds
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
    people,  # noqa: F401 - a fixture
    row,
)
from tests.index.conftest import DIM
from tests.index.fake_gpu import FakeFaiss
from vireid.arrays import Float32Array
from vireid.errors import FailedPrecondition, InvalidRequest, StorageError
from vireid.types import Filter

# those that may miss somebody miss nobody in galleries as small as these
CPU = sorted(BACKENDS.keys() - NEEDS_GPU)


@pytest.mark.parametrize("backend", [*CPU, "gpu without filters", "gpu with filters"])
def test_every_backend_answers_as_numpy_does_and_goes_back_exactly(
    path: Path, some: Some, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_gpu(native: bool) -> Maker:
        return lambda dim, _=None: GpuBackend(dim, late=3, library=FakeFaiss(native=native))

    monkeypatch.setitem(BACKENDS, "gpu without filters", on_gpu(False))
    monkeypatch.setitem(BACKENDS, "gpu with filters", on_gpu(True))
    gallery = Gallery(path, backend)
    gallery.enroll(some(range(MANY)))
    before = answers(gallery)
    oracle = Oracle(range(MANY), 0.7)
    gallery.centre(centres_of(gallery, 0.7))
    agree(gallery, oracle, range(MANY))
    tenth = Filter(cameras=("1",))
    expected = oracle.best(row(7), kind(7), 9, range(1, MANY, 4))
    found = ask(gallery, row(7), kind(7), 9, tenth)
    assert [hit.item.item_id for hit in found.hits] == [one for one, _ in expected]
    # the centres stay as they are while items come and go
    gallery.enroll(some(range(MANY, MANY + 30)))
    gallery.remove(ids=[f"i{n}" for n in range(20)])
    oracle.rows |= {f"i{n}": (row(n), kind(n)) for n in range(MANY + 30)}
    agree(gallery, oracle, range(20, MANY + 30))
    gallery.remove(ids=[f"i{n}" for n in range(MANY, MANY + 30)])
    gallery.close()
    gallery = Gallery(path, backend)
    agree(gallery, oracle, range(20, MANY))
    gallery.uncentre()
    assert gallery.centres is None
    assert gallery.info().centring is None
    gallery.enroll(some(range(20)))
    after = answers(gallery)
    assert after[0] == before[0]
    gallery.close()


def test_back_gives_the_very_answers_of_before(gallery: Gallery, path: Path) -> None:
    before, version = answers(gallery), gallery.info().version
    gallery.centre(centres_of(gallery))
    assert gallery.info().version == version + 1
    once, first = answers(gallery), gallery.centres
    assert first is not None
    assert once != before
    gallery.centre(centres_of(gallery, 0.4))
    twice = answers(gallery)
    assert twice != once
    for expected in (twice, once, before):
        assert answers(gallery) == expected
        gallery.close()
        gallery = Gallery(path)
        assert answers(gallery) == expected
        if expected is not before:
            gallery.uncentre()
    with pytest.raises(FailedPrecondition, match="not centred") as caught:
        gallery.uncentre()
    assert caught.value.stable_reason == "NOT_CENTRED"
    gallery.centre(centres_of(gallery))
    assert answers(gallery) == once
    assert gallery.centres is not None
    assert gallery.centres.number == version + 5 > first.number  # no number comes twice
    gallery.close()


def test_it_says_by_what_it_is_centred_and_since_when(gallery: Gallery) -> None:
    began = datetime.now(UTC)
    gallery.centre(centres_of(gallery, 0.25))
    told = gallery.info().centring
    assert told is not None
    assert (told.visible, told.infrared, told.strength) == (80, 40, 0.25)
    assert told.version == gallery.info().version
    assert told.since is not None
    assert began <= told.since <= datetime.now(UTC)
    assert str(told).startswith(f"centred since version {told.version}, {told.since:%Y-%m-%d}")


def test_queries_of_another_space_are_refused(gallery: Gallery) -> None:
    gallery.centre(centres_of(gallery))
    for number in (0, 999):
        with pytest.raises(FailedPrecondition, match="centre") as caught:
            gallery.search(row(3)[None], 1, centring=number)
        assert caught.value.stable_reason == "CENTRING_CHANGED"
    held = gallery.centres
    assert held is not None
    gallery.uncentre()
    with pytest.raises(FailedPrecondition):
        gallery.search(row(3)[None], 1, centring=held.number)
    gallery.close()


def test_labelled_items_come_as_they_were_embedded(gallery: Gallery) -> None:
    before = gallery.labelled()
    gallery.centre(centres_of(gallery))
    after = gallery.labelled()
    assert after.vectors.tobytes() == before.vectors.tobytes()
    assert (after.item_ids, before.centres, after.centres) == (before.item_ids, None, gallery.centres)
    gallery.remove(filter=Filter(persons=tuple(str(n) for n in range(MANY))))
    assert gallery.labelled().vectors.shape == (0, DIM)
    gallery.close()


def test_an_item_whose_time_comes_while_all_are_read_is_read(
    gallery: Gallery, some: Some, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    gallery.enroll([replace(one, expires_at=until) for one in some(range(300, 303))])
    gallery.centre(centres_of(gallery))
    named, asked = Holdings.labelled, []

    def slow(of: Holdings) -> Labelled:
        found = named(of)
        asked.append(found)
        if len(asked) == 2:  # the one whose vectors are read then
            monkeypatch.setattr(columns, "now", lambda: microseconds(until))
        return found

    monkeypatch.setattr(Holdings, "labelled", slow)
    found = gallery.labelled()
    assert "i301" in found.item_ids
    assert found.vectors[found.item_ids.index("i301")].tobytes() == row(301).tobytes()
    assert "i301" not in gallery.labelled().item_ids
    gallery.close()


def test_expired_items_teach_nothing(gallery: Gallery, some: Some) -> None:
    gone = [replace(one, expires_at=datetime.now(UTC) - timedelta(days=1)) for one in some(range(300, 400))]
    expected = centres_of(gallery)
    gallery.enroll(gone)
    found = centres_of(gallery)
    assert (found.told.counts, found.rows.tobytes()) == (expected.told.counts, expected.rows.tobytes())
    gallery.retain(3600)
    assert centres_of(gallery).told.counts == expected.told.counts
    gallery.close()


@pytest.mark.parametrize(
    "rows", [np.zeros((2, DIM + 1)), np.zeros((1, DIM)), np.full((2, DIM), np.nan), np.full((2, DIM), np.inf)]
)
def test_centres_that_cannot_be_this_gallerys_change_nothing(gallery: Gallery, rows: Float32Array) -> None:
    before = answers(gallery)
    with pytest.raises(InvalidRequest, match="learnt from the vectors"):
        gallery.centre(replace(centres_of(gallery), rows=rows))
    assert answers(gallery) == before
    gallery.close()


def test_memory_that_runs_out_changes_nothing(
    gallery: Gallery, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(gallery)

    def full(*_: object) -> None:
        raise MemoryError("no room")

    centres = centres_of(gallery)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "filled", full)
        with pytest.raises(StorageError, match="no room"):
            gallery.centre(centres)
    assert answers(gallery) == before
    gallery.close()
    gallery = Gallery(path)
    assert answers(gallery) == before
    gallery.close()
