"""A gallery as a kill leaves it, with its log not yet written back: every file of it cut and flipped."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from index.gallery import Gallery
from index.head import Head
from index.records import Enrolment, Records
from index.seal import Seal
from vireid.errors import DataLoss
from vireid.types import Filter

Make = Callable[..., Enrolment]
Content = list[tuple[object, bytes, bytes, bytes]]
DIM = 16
FLIPS = 300
CUT_BYTES = 4096
LOG, SEAL = "g.sqlite-wal", "g.sqlite-seal"


def content(gallery: Gallery) -> Content:
    """Everything that a gallery can be asked for."""
    return [
        (
            item,
            gallery.vector(item.item_id).tobytes(),
            gallery.image(item.item_id),
            gallery.thumbnail(item.item_id),
        )
        for item in gallery.items(limit=1000)[0]
    ]


@pytest.fixture
def left(tmp_path: Path, enrolment: Make) -> tuple[dict[str, bytes], Content]:
    """The files of a gallery that nobody closed, and what it held."""
    path = tmp_path / "alive" / "g.sqlite"
    path.parent.mkdir()
    Records.create(path, Head("g", "5" * 64, DIM, True))
    gallery = Gallery(path)
    for step in range(4):
        gallery.enroll([enrolment(f"i{step}-{n}", person=f"p{n}") for n in range(5)])
    gallery.remove(ids=["i0-1", "i2-3"])
    for step in range(3):
        gallery.enroll([enrolment(f"j{step}-{n}", camera=str(step)) for n in range(5)])
    files = {
        one.name: one.read_bytes() for one in sorted(path.parent.iterdir()) if not one.name.endswith("-shm")
    }
    truth = content(gallery)
    gallery.close()
    assert set(files) == {"g.sqlite", LOG, SEAL}
    assert len(files[LOG]) > 2 * CUT_BYTES
    return files, truth


def opened(folder: Path, files: dict[str, bytes], truth: Content) -> str:
    """Open a copy: the words of the error that refused it, or of a picture in it; none if all is as it was."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    try:
        gallery = Gallery(folder / "g.sqlite")
    except DataLoss as error:
        return error.message
    try:
        found = {item.item_id: item for item in gallery.items(limit=1000)[0]}
        assert found == {item.item_id: item for item, *_ in truth}  # type: ignore[attr-defined]
        said = ""
        for item, vector, image, thumbnail in truth:
            item_id = item.item_id  # type: ignore[attr-defined]
            assert gallery.vector(item_id).tobytes() == vector
            for read, expected in ((gallery.image, image), (gallery.thumbnail, thumbnail)):
                try:
                    assert read(item_id) == expected
                except DataLoss as error:
                    said = error.message
        return said
    finally:
        gallery.close()


def test_every_cut_of_every_file(tmp_path: Path, left: tuple[dict[str, bytes], Content]) -> None:
    files, truth = left
    assert opened(tmp_path / "whole", files, truth) == ""
    noticed = dict.fromkeys(files, 0)
    for name, data in files.items():
        for length in range(0, len(data), CUT_BYTES):
            folder = tmp_path / f"{name}-{length}"
            said = opened(folder, files | {name: data[:length]}, truth)
            assert said == "" or str(folder / "g.sqlite") in said
            noticed[name] += said != ""
    assert noticed[LOG] == len(range(0, len(files[LOG]), CUT_BYTES))  # each of them lost a change
    assert noticed["g.sqlite"] > 0
    assert noticed[SEAL] == 0  # the gallery itself is whole


def test_random_flips_in_every_file(tmp_path: Path, left: tuple[dict[str, bytes], Content]) -> None:
    files, truth = left
    draw, noticed = random.Random(7), dict.fromkeys(files, 0)
    for turn in range(FLIPS):
        name = sorted(files)[turn % 3]
        broken = bytearray(files[name])
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        folder = tmp_path / str(turn)
        said = opened(folder, files | {name: bytes(broken)}, truth)
        assert said == "" or str(folder / "g.sqlite") in said
        noticed[name] += said != ""
    assert noticed[LOG] > FLIPS // 6  # SQLite itself takes a flipped log for a shorter one
    assert noticed[SEAL] == 0


def test_a_log_that_is_gone_is_noticed(tmp_path: Path, left: tuple[dict[str, bytes], Content]) -> None:
    files, truth = left
    said = opened(tmp_path / "gone", {name: data for name, data in files.items() if name != LOG}, truth)
    assert LOG in said
    assert "change 8 was acknowledged" in said


def test_an_older_file_with_a_newer_seal_is_refused_until_the_seal_is_taken_away(
    tmp_path: Path, enrolment: Make
) -> None:
    path = tmp_path / "g.sqlite"
    Records.create(path, Head("g", "5" * 64, DIM, True))
    gallery = Gallery(path)
    gallery.enroll([enrolment("old")])
    gallery.close()
    yesterday = path.read_bytes()
    gallery = Gallery(path)
    gallery.enroll([enrolment("new")])
    gallery.close()
    path.write_bytes(yesterday)
    with pytest.raises(DataLoss, match="go on with what is left") as caught:
        Gallery(path)
    assert caught.value.stable_reason == "CHANGES_LOST"
    (tmp_path / SEAL).unlink()
    gallery = Gallery(path)
    assert [item.item_id for item in gallery.items(Filter())[0]] == ["old"]
    gallery.close()


def test_another_history_of_the_same_length_is_refused(tmp_path: Path, enrolment: Make) -> None:
    """Same version, other items: the sum over all items tells them apart."""
    files = []
    for name in "ab":
        path = tmp_path / name / "g.sqlite"
        path.parent.mkdir()
        Records.create(path, Head("g", "5" * 64, DIM, True))
        gallery = Gallery(path)
        gallery.enroll([enrolment(name)])
        gallery.close()
        files.append(path)
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(DataLoss, match="another file"):
        Gallery(files[0])


def test_a_seal_behind_its_file_is_made_good(tmp_path: Path, enrolment: Make) -> None:
    """As after a power cut: the change is on the disk, the seal's page is not."""
    path = tmp_path / "g.sqlite"
    Records.create(path, Head("g", "5" * 64, DIM, True))
    gallery = Gallery(path)
    gallery.enroll([enrolment("a")])
    early = (tmp_path / SEAL).read_bytes()
    gallery.enroll([enrolment("b")])
    gallery.close()
    (tmp_path / SEAL).write_bytes(early)
    for _ in range(2):
        gallery = Gallery(path)
        assert gallery.info().items == 2
        gallery.close()
    assert (tmp_path / SEAL).read_bytes() != early


def test_a_seal_that_cannot_be_written_fails_no_change(
    tmp_path: Path, enrolment: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seal = Seal(tmp_path / "g.sqlite")

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("index.seal.os.pwrite", refuse)
        seal.write(3, 4)
    assert "cannot be written" in caplog.text
    assert seal.read() is None
    seal.write(3, 2**127)
    assert seal.read() == (3, 2**127)
    seal.close()
