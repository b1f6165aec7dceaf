"""A gallery that is centred: what it answers against NumPy, over every backend, and that its going back is exact."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from index import opening, restoration
from index.answers import Found
from index.backends import BACKENDS
from index.cache import SUFFIX, Cache
from index.centres import Centres, applied
from index.centring import learn
from index.disk import FILE
from index.faiss_gpu import GpuBackend
from index.gallery import Gallery
from index.head import Head
from index.kept_centres import KeptCentres
from index.records import Enrolment, Records
from index.second_space import SecondSpace
from tests.index.conftest import DIM, SPACE, unit
from tests.index.fake_gpu import FakeFaiss
from tests.index.test_concurrency import together
from vireid.arrays import Float32Array, Float64Array
from vireid.errors import FailedPrecondition, InvalidRequest, StorageError, VireidError
from vireid.types import Filter, Modality

Make = Callable[..., Enrolment]
# those that may miss somebody miss nobody in galleries as small as these
CPU = [name for name in sorted(BACKENDS) if name != "faiss-gpu"]
MANY = 120


def leaning(n: object, modality: Modality, dim: int = DIM) -> Float32Array:
    """A unit vector that leans the way of its modality, as a model's do."""
    leans = unit(("person", n), dim) + 1.5 * unit(("modality", modality), dim)
    row: Float32Array = (leans / np.linalg.norm(leans)).astype(np.float32)
    return row


def kind(n: int) -> Modality:
    return Modality(n % 3 == 0)


def row(n: int) -> Float32Array:
    return leaning(n, kind(n))


@pytest.fixture
def some(enrolment: Make) -> Callable[..., list[Enrolment]]:
    def make(numbers: range, image: bytes | None = b"picture") -> list[Enrolment]:
        return [
            enrolment(f"i{n}", modality=kind(n), vector=row(n), person=str(n), camera=str(n % 4), image=image)
            for n in numbers
        ]

    return make


Some = Callable[..., list[Enrolment]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "galleries" / "g"
    folder.mkdir(parents=True)
    Records.create(folder / FILE, Head("g", SPACE, DIM, True))
    return folder / FILE


@pytest.fixture
def gallery(path: Path, some: Some) -> Gallery:
    opened = Gallery(path)
    opened.enroll(some(range(MANY)))
    return opened


class Oracle:
    """All vectors in a dictionary, centred by means that are taken here, and compared by one product."""

    def __init__(self, numbers: range, strength: float = 1.0) -> None:
        self.rows = {f"i{n}": (row(n), kind(n)) for n in numbers}
        self.means = {
            one: strength * np.mean([v.astype(np.float64) for v, m in self.rows.values() if m is one], axis=0)
            for one in Modality
        }

    def centred(self, vector: Float32Array, modality: Modality) -> Float64Array:
        moved: Float64Array = vector.astype(np.float64) - self.means[modality]
        moved /= np.linalg.norm(moved)
        return moved

    def best(self, vector: Float32Array, modality: Modality, k: int, among: range) -> list[tuple[str, float]]:
        query = self.centred(vector, modality)
        scores = {f"i{n}": float(self.centred(*self.rows[f"i{n}"]) @ query) for n in among}
        return sorted(scores.items(), key=lambda one: -one[1])[:k]


def ask(
    gallery: Gallery, vector: Float32Array, modality: Modality, k: int = 5, where: Filter | None = None
) -> Found:
    centres = gallery.centres
    queries = applied(centres, vector[None], [modality])
    return gallery.search(
        queries, k, where or Filter(), None, True, centring=centres.number if centres else 0
    )[0]


def agree(gallery: Gallery, oracle: Oracle, among: range, asking: range = range(200, 220)) -> None:
    """Hits and scores are those of NumPy, for strangers and for each item by its own vector."""
    for n in asking:
        modality = Modality(n % 2)
        found = ask(gallery, leaning(n, modality), modality)
        expected = oracle.best(leaning(n, modality), modality, 5, among)
        assert [hit.item.item_id for hit in found.hits] == [one for one, _ in expected]
        np.testing.assert_allclose(
            [hit.score for hit in found.hits], [score for _, score in expected], atol=1e-5
        )
        assert found.centring == (gallery.centres.number if gallery.centres else 0)
    for n in among:
        best = ask(gallery, row(n), kind(n), 1).hits[0]
        assert best.item.item_id == f"i{n}"
        assert abs(best.score - 1) < 1e-6
        assert gallery.vector(f"i{n}").tobytes() == row(n).tobytes()


def answers(gallery: Gallery) -> list[object]:
    """All that a gallery says, to the last bit."""
    told: list[object] = []
    for n in range(200, 220):
        found = ask(gallery, leaning(n, Modality(n % 2)), Modality(n % 2), 50)
        assert found.vectors is not None
        told += [[(hit.item.item_id, hit.score) for hit in found.hits], found.vectors.tobytes()]
    return [told, gallery.labelled().vectors.tobytes(), gallery.facets()]


def centres_of(gallery: Gallery, strength: float = 1.0) -> Centres:
    return learn(gallery.records).centres(strength)


@pytest.mark.parametrize("backend", [*CPU, "gpu without filters", "gpu with filters"])
def test_every_backend_answers_as_numpy_does_and_goes_back_exactly(
    path: Path, some: Some, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        BACKENDS, "gpu without filters", lambda dim: GpuBackend(dim, late=3, library=FakeFaiss())
    )
    monkeypatch.setitem(
        BACKENDS, "gpu with filters", lambda dim: GpuBackend(dim, late=3, library=FakeFaiss(native=True))
    )
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


def test_expired_items_teach_nothing(gallery: Gallery, some: Some) -> None:
    gone = [replace(one, expires_at=datetime.now(UTC) - timedelta(days=1)) for one in some(range(300, 400))]
    expected = centres_of(gallery)
    gallery.enroll(gone)
    found = centres_of(gallery)
    assert (found.told.counts, found.rows.tobytes()) == (expected.told.counts, expected.rows.tobytes())
    gallery.retain(3600)
    assert centres_of(gallery).told.counts == expected.told.counts
    gallery.close()


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
    second(gallery, "7" * 64, 24)
    with KeptCentres(gallery.records)._records.changing() as (db, _):
        assert db.execute("SELECT count(*) FROM centres").fetchone() == (1,)
    gallery.exchange()
    assert gallery.centres is None
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
