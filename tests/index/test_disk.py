"""What the disk refuses is told by the gallery's name; where it lies is the log's."""

import errno
import sqlite3
from pathlib import Path

import pytest

from index.disk import FILE, called, disk_errors, sqlite_errors
from vireid.errors import DataLoss, StorageError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/data/galleries/yard/gallery.sqlite", "gallery 'yard'"),
        ("/srv/galleries/data/galleries/yard/snapshots/.part-1", "gallery 'yard'"),
        ("/srv/data/galleries/yard", "gallery 'yard'"),
        ("/srv/data/galleries", "the folder of galleries"),
        ("/srv/elsewhere/gallery.sqlite", "/srv/elsewhere/gallery.sqlite"),
    ],
)
def test_a_file_is_called_by_its_gallery(path: str, name: str) -> None:
    assert called(Path(path)) == name


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_what_the_system_refuses(tmp_path: Path, code: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "galleries" / "yard" / "snapshots"
    with pytest.raises(StorageError) as caught, disk_errors(path):
        raise OSError(code, "the system's word", str(path))
    assert str(tmp_path) not in caught.value.message
    assert caught.value.message.startswith("gallery 'yard' cannot be used: the system's word; ")
    assert caught.value.stable_reason == ("DISK_FULL" if code == errno.ENOSPC else "DATA_FOLDER_UNUSABLE")
    assert str(path) in caplog.text


def test_what_sqlite_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "galleries" / "yard" / FILE
    with pytest.raises(StorageError, match="gallery 'yard': the disk refuses") as caught, sqlite_errors(path):
        sqlite3.connect(path).execute("SELECT 1")  # there is no such folder
    assert (caught.value.stable_reason, str(tmp_path) in caught.value.message) == ("DISK_REFUSES", False)
    assert str(path) in caplog.text


def test_a_damaged_file_is_named_to_who_can_mend_it(tmp_path: Path) -> None:
    path = tmp_path / "galleries" / "yard" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(DataLoss, match=str(path)), sqlite_errors(path):
        sqlite3.connect(path).execute("SELECT * FROM items")
