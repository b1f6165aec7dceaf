"""``vireid index export|import|compare`` as people call them."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from index import columns, manifests, neutral, neutral_command
from index.command import app
from index.disk import FILE, MAKING, hold
from index.gallery import Gallery
from index.head import Head
from index.inspection import inspect
from index.records import Enrolment, Records
from index.store import GalleryStore
from vireid.errors import DataLoss, GalleryNotFound, InvalidRequest, StorageError
from vireid.types import Modality

Make = Callable[..., Enrolment]
DIM, SPACE, MANY = 16, "5" * 64, 12
# says how many items were dealt with, each time after a batch is durable
WORKER = """
import sys, time
from pathlib import Path
from index import importing
importing.ITEMS_AT_ONCE = 5
def said(count):
    print(count, flush=True)
    time.sleep(0.01)
importing.bring_in(Path(sys.argv[1]), Path(sys.argv[2]), "again", said)
"""


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def made(root: Path, name: str, batch: list[Enrolment], space: str = SPACE) -> Path:
    folder = root / "galleries" / name
    folder.mkdir(parents=True)
    Records.create(folder / FILE, Head(name, space, DIM, True))
    gallery = Gallery(folder / FILE)
    gallery.enroll(batch)
    gallery.close()
    return folder


@pytest.fixture
def people(enrolment: Make) -> list[Enrolment]:
    return [
        enrolment(f"i{n}", person=f"p{n}", modality=Modality(n % 2), attributes={"n": str(n)})
        for n in range(MANY)
    ]


@pytest.fixture
def root(tmp_path: Path, people: list[Enrolment]) -> Path:
    made(tmp_path / "data", "g", people)
    return tmp_path / "data"


def test_there_and_back(root: Path, tmp_path: Path) -> None:
    code, output = run("export", root, tmp_path / "out", "-g", "g", "--images")
    assert code == 0
    assert f"g: 12 items of 16 numbers, with their pictures, in {tmp_path / 'out'}\n" in output
    assert "exporting: 12/12" in output
    code, output = run("import", tmp_path / "out", tmp_path / "elsewhere", "-g", "h")
    assert code == 0
    assert f"h: 12 items of 16 numbers, space {SPACE[:12]}\n" in output
    assert "importing: 12/12" in output
    there, back = root / "galleries/g", tmp_path / "elsewhere/galleries/h"
    for one, other in ((there, back), (there, tmp_path / "out"), (tmp_path / "out", back), (there, there)):
        code, output = run("compare", one, other)
        assert (code, output.splitlines()[-1]) == (
            0,
            "12 items the same, 0 missing, 0 extra, 0 differing, 0 duplicate",
        )
    assert "comparing: 24/24" in output
    assert run("import", tmp_path / "out", root.parent / "own")[0] == 0
    assert (root.parent / "own/galleries/g" / FILE).is_file()
    assert inspect(back).damage == ()


def test_what_does_not_come_along_is_told(root: Path, tmp_path: Path) -> None:
    run("retention", root, "-g", "g", "--days", 2)
    assert "without pictures" in run("export", root, tmp_path / "out", "-g", "g")[1]
    output = run("import", tmp_path / "out", root, "-g", "h")[1]
    assert "  items are kept 2 days\n" in output
    assert "  no pictures came along: the items cannot be embedded anew\n" in output


def test_a_centred_gallery_tells_of_its_centres(tmp_path: Path, enrolment: Make) -> None:
    folder = made(tmp_path / "data", "g", [enrolment(f"i{n}", modality=Modality(n % 2)) for n in range(80)])
    assert run("centre", tmp_path / "data", "-g", "g")[0] == 0
    run("export", tmp_path / "data", tmp_path / "out", "-g", "g")
    manifest = neutral.read(tmp_path / "out")
    assert manifest.centring is not None
    assert (manifest.centring["visible"], manifest.centring["infrared"]) == (40, 40)
    assert "this one is not" in run("import", tmp_path / "out", tmp_path / "data", "-g", "h")[1]
    # embeddings are as they came, whatever the gallery is centred by
    assert run("compare", folder, tmp_path / "data/galleries/h")[0] == 0


def test_differences_are_named(root: Path, tmp_path: Path, enrolment: Make) -> None:
    run("export", root, tmp_path / "out", "-g", "g")
    gallery = Gallery(root / "galleries/g" / FILE)
    gallery.remove(ids=["i3"])
    gallery.enroll([enrolment("i5", seed="other", modality=Modality.INFRARED), enrolment("new")])
    gallery.close()
    code, output = run("compare", tmp_path / "out", root / "galleries/g")
    assert code == 1
    assert output.splitlines()[-4:] == [
        "10 items the same, 1 missing, 1 extra, 1 differing, 0 duplicate",
        f"  missing, in {tmp_path / 'out'} alone: 'i3'",
        f"  extra, in {root / 'galleries/g'} alone: 'new'",
        "  differs: 'i5' in embedding, person, attributes, sha256",
    ]


def test_many_differences_are_counted(root: Path, tmp_path: Path, enrolment: Make) -> None:
    other = made(tmp_path / "other", "g", [enrolment(f"j{n}") for n in range(25)])
    code, output = run("compare", root / "galleries/g", other)
    assert code == 1
    assert "0 items the same, 12 missing, 25 extra, 0 differing, 0 duplicate" in output
    assert output.count("  extra, in") == 21
    assert output.endswith(f"  extra, in {other} alone: and 5 more\n")


def test_another_space_is_told(root: Path, tmp_path: Path, people: list[Enrolment]) -> None:
    other = made(tmp_path / "other", "g", people, space="6" * 64)
    code, output = run("compare", root / "galleries/g", other)
    assert code == 1
    assert "12 items the same" in output
    assert "the embedding spaces differ" in output
    assert "differs:" not in output


def test_what_has_expired_is_on_no_side(
    tmp_path: Path, people: list[Enrolment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gallery's server removes it soon, of an export nobody does."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    there = made(tmp_path / "data", "g", [replace(people[0], expires_at=soon), *people[1:]])
    run("export", tmp_path / "data", tmp_path / "out", "-g", "g")
    assert "12 items the same" in run("compare", there, tmp_path / "out")[1]

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Later":
            return cls.fromtimestamp(super().now(tz).timestamp() + 7200, tz)

    monkeypatch.setattr(neutral_command, "datetime", Later)
    late = columns.now() + 7_200_000_000
    monkeypatch.setattr("index.centring.now", lambda: late)
    for one, other in ((there, tmp_path / "out"), (tmp_path / "out", there)):
        code, output = run("compare", one, other)
        assert (code, output.splitlines()[-1][:18]) == (0, "11 items the same,")
    assert (
        "  1 item expired: left behind\n" in run("export", tmp_path / "data", tmp_path / "more", "-g", "g")[1]
    )


def test_an_export_that_has_an_item_twice(root: Path, tmp_path: Path) -> None:
    run("export", root, tmp_path / "out", "-g", "g")
    place = tmp_path / "out/items-00001.jsonl"
    lines = place.read_text().splitlines()
    lines[8] = lines[7]
    place.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataLoss, match="items-00001"):
        run("compare", tmp_path / "out", root / "galleries/g")
    with pytest.raises(DataLoss, match="items-00001"):
        run("import", tmp_path / "out", root, "-g", "h")
    manifest = neutral.read(tmp_path / "out")
    shard = manifest.shards[0]
    told = manifests.told(tmp_path / "out", shard.files)
    neutral.write_manifest(
        tmp_path / "out",
        replace(manifest, shards=(replace(shard, files=told),)),
    )
    code, output = run("compare", root / "galleries/g", tmp_path / "out")
    assert code == 1
    assert "11 items the same, 1 missing, 0 extra, 0 differing, 1 duplicate" in output
    assert "  more than once: 'i7'" in output


def test_a_folder_in_use_is_refused(root: Path, tmp_path: Path) -> None:
    run("export", root, tmp_path / "out", "-g", "g")
    with hold(root / "lock"):
        for words in (
            ("export", root, tmp_path / "more", "-g", "g"),
            ("import", tmp_path / "out", root, "-g", "h"),
            ("compare", root / "galleries/g", tmp_path / "out"),
            ("compare", tmp_path / "out", root / "galleries/g"),
        ):
            with pytest.raises(StorageError) as caught:
                run(*words)
            assert caught.value.stable_reason == "DATA_FOLDER_IN_USE"
    assert not (tmp_path / "more").exists()
    assert not (root / "galleries/h").exists()


def test_what_is_neither_is_refused(root: Path, tmp_path: Path) -> None:
    for place in (tmp_path, root, root / "galleries", tmp_path / "nowhere"):
        with pytest.raises(InvalidRequest, match="neither a gallery nor an export"):
            run("compare", root / "galleries/g", place)
    snapshot = run("snapshot", root, "-g", "g")[1].strip()
    with pytest.raises(DataLoss, match="tells of no export"):
        run("compare", root / "galleries/g", snapshot)
    with pytest.raises(InvalidRequest, match="no export"):
        run("import", tmp_path / "nowhere", tmp_path / "new")
    with pytest.raises(GalleryNotFound):
        run("export", root, tmp_path / "out", "-g", "nobody")
    with pytest.raises(InvalidRequest, match="among the galleries"):
        run("export", root, root / "galleries/out", "-g", "g")
    assert sorted(one.name for one in (root / "galleries").iterdir()) == ["g"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_kill_leaves_no_gallery_or_all_of_it(
    root: Path, tmp_path: Path, rounds: int, enrolment: Make
) -> None:
    made(root, "more", [enrolment(f"i{n}") for n in range(60)])
    run("export", root, tmp_path / "out", "-g", "more", "--images")
    folder, killed = tmp_path / "elsewhere/galleries", 0
    folder.mkdir(parents=True)
    for round_ in range(rounds):
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path / "out", folder], stdout=subprocess.PIPE
        )
        assert worker.stdout is not None
        for _ in range(1 + round_ * 7 % 12):
            worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
        worker.stdout.close()
        worker.wait(10)
        names = [one.name for one in folder.iterdir()]
        if "again" not in names:
            killed += 1
            assert [one for one in names if not one.startswith(MAKING)] == []
            run("import", tmp_path / "out", tmp_path / "elsewhere", "-g", "again")
        assert [one.name for one in folder.iterdir()] == ["again"], "nothing half made is left"
        assert run("compare", root / "galleries/more", folder / "again")[0] == 0
        assert inspect(folder / "again").pictures == 120
        shutil.rmtree(folder / "again")
    assert killed
    GalleryStore(tmp_path / "elsewhere", SPACE, DIM).close()
