"""Archives of every unkind sort: refused whole, by a stable reason."""

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import archive as module
from server.archive import Archive
from vireid.errors import ArchiveError

Files = Iterable[tuple[str, bytes]]


def stored(data: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the test
    file.write(data)
    return file


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def tarred(files: Files, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tarred_gz(files: Files) -> bytes:
    return gzip.compress(tarred(files))


KINDS = {"zip": zipped, "tar": tarred, "tar.gz": tarred_gz}


@pytest.fixture(params=KINDS)
def pack(request: pytest.FixtureRequest) -> Callable[[Files], bytes]:
    return KINDS[request.param]


def refused(data: bytes) -> str:
    with stored(data) as file, pytest.raises(ArchiveError) as caught:
        Archive(file, len(data))
    return caught.value.stable_reason


@pytest.fixture
def opened() -> Iterator[Callable[[bytes], Archive]]:
    held: list[IO[bytes] | Archive] = []

    def open_archive(data: bytes) -> Archive:
        file = stored(data)
        archive = Archive(file, len(data))
        held.extend([archive, file])
        return archive

    yield open_archive
    for one in held:
        one.close()


def test_what_is_inside(pack: Callable[[Files], bytes], opened: Callable[[bytes], Archive]) -> None:
    archive = opened(pack([("b/2.jpg", b"two"), ("a 1.jpg", b"one"), ("empty", b"")]))
    assert [(entry.name, entry.size) for entry in archive.entries] == [
        ("a 1.jpg", 3), ("b/2.jpg", 3), ("empty", 0),
    ]  # fmt: skip
    assert [archive.read(entry, 100) for entry in archive.entries] == [b"one", b"two", b""]
    assert archive.read(archive.entries[0], 1) == b"on"  # the limit, and one more to tell that there is more


def test_entries_are_read_by_many_threads(
    pack: Callable[[Files], bytes], opened: Callable[[bytes], Archive]
) -> None:
    files = [(f"{n:03}.jpg", os.urandom(1 + 37 * n)) for n in range(150)]
    archive = opened(pack(reversed(files)))
    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda e: archive.read(e, 10**6), archive.entries)) == [d for _, d in files]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a.jpg", "../b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "x/../../b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "x/../b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "/etc/passwd"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "..\\b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "C:/b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "c:b.jpg"], "ARCHIVE_PATH_ESCAPES"),
        (["a.jpg", "a.jpg"], "ARCHIVE_NAME_TWICE"),
        (["a.jpg", "./a.jpg"], "ARCHIVE_NAME_TWICE"),
        (["x/a.jpg", "x//a.jpg"], "ARCHIVE_NAME_TWICE"),
        (["Person/A.jpg", "person/a.JPG"], "ARCHIVE_NAME_TWICE"),
        (["stra\u00dfe.jpg", "STRASSE.jpg"], "ARCHIVE_NAME_TWICE"),
        (["caf\u00e9.jpg", "cafe\u0301.jpg"], "ARCHIVE_NAME_TWICE"),
        (["a.jpg", "more.ZIP"], "ARCHIVE_NESTED"),
        (["a.jpg", "more.tar.gz"], "ARCHIVE_NESTED"),
        (["a.jpg", "."], "ARCHIVE_NAME_INVALID"),
        ([".hidden", "__MACOSX/a.jpg"], "ARCHIVE_EMPTY"),
        ([], "ARCHIVE_EMPTY"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_refused(pack: Callable[[Files], bytes], names: list[str], reason: str) -> None:
    assert refused(pack([(name, b"data") for name in names])) == reason


def test_what_a_mac_adds_is_left_out(opened: Callable[[bytes], Archive]) -> None:
    archive = opened(zipped([("a.jpg", b"1"), ("__MACOSX/._a.jpg", b"2"), ("b/.DS_Store", b"3")]))
    assert [entry.name for entry in archive.entries] == ["a.jpg"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(kind: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jpg", b"1")
        info = zipfile.ZipInfo("b.jpg")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    assert refused(out.getvalue()) == "ARCHIVE_LINK"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE],
)
def test_links_and_devices_in_a_tar(kind: bytes, opened: Callable[[bytes], Archive]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("b.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    if kind == tarfile.CONTTYPE:  # an old word for a plain file
        assert len(opened(out.getvalue()).entries) == 1
    else:
        assert refused(out.getvalue()) == "ARCHIVE_LINK"


def test_a_sparse_file_in_a_tar() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("b.jpg")
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**40)}
        archive.addfile(info)
    assert refused(out.getvalue()) == "ARCHIVE_LINK"


@pytest.mark.parametrize("name", ["bomb.jpg", "bomb.bin"])
def test_one_entry_that_unfolds_to_too_much(name: str) -> None:
    assert refused(zipped([("a.jpg", b"1"), (name, bytes(50 * 2**20))])) == "ARCHIVE_BOMB"


def test_many_entries_that_unfold_to_too_much() -> None:
    assert refused(zipped([(f"{n}.jpg", bytes(2**20)) for n in range(20)])) == "ARCHIVE_BOMB"


def test_a_stream_that_unfolds_to_too_much() -> None:
    # stops while unfolding: the bomb is never written out whole
    assert refused(tarred_gz([("a.jpg", bytes(40 * 2**20))])) == "ARCHIVE_BOMB"


def test_what_merely_packs_well_is_taken(opened: Callable[[bytes], Archive]) -> None:
    archive = opened(zipped([("a.jpg", bytes(1000_000))]))
    assert len(archive.read(archive.entries[0], 2**20)) == 1000_000


def test_more_than_may_be_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNFOLDED_BYTES", 2**21)
    data = os.urandom(2**20 + 1)
    files = [("a.jpg", data), ("b.jpg", data[::-1])]
    for pack in KINDS.values():
        assert refused(pack(files)) == "ARCHIVE_BOMB"


def test_a_stream_is_stopped_while_it_unfolds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it is never looked at: it is no tar."""
    data = gzip.compress(os.urandom(5 * 2**20))
    assert refused(data) == "ARCHIVE_UNREADABLE"
    monkeypatch.setattr(module, "MAX_UNFOLDED_BYTES", 2 * 2**20)
    written: list[int] = []
    write = module._write
    monkeypatch.setattr(
        module, "_write", lambda file, block: (written.append(len(block)), write(file, block))
    )
    assert refused(data) == "ARCHIVE_BOMB"
    assert sum(written) <= 2 * 2**20 + module.MIB


def test_entries_are_counted_before_an_object_is_made_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (zipped([(f"{n}.jpg", b"") for n in range(count)]) for count in (50, 51))
    made: list[object] = []

    class Counted(zipfile.ZipInfo):
        def __init__(self, *words: object) -> None:
            made.append(words)
            super().__init__(*words)

    monkeypatch.setattr(zipfile, "ZipInfo", Counted)
    monkeypatch.setattr(module, "MAX_ENTRIES", 50)
    assert refused(many) == "ARCHIVE_TOO_MANY_ENTRIES"
    assert made == []
    with stored(few) as file:
        assert len(Archive(file, len(few)).entries) == len(made) == 50


def test_too_many_entries(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[Files], bytes], opened: Callable[[bytes], Archive]
) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 50)
    assert refused(pack([(f"{n}.jpg", b"") for n in range(51)])) == "ARCHIVE_TOO_MANY_ENTRIES"
    assert len(opened(pack([(f"{n}.jpg", b"") for n in range(50)])).entries) == 50


def test_a_directory_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ZIP_PIECE", 100_000)
    files = [(f"{n:05}" + "x" * 200, b"") for n in range(500)]
    assert refused(zipped(files, zipfile.ZIP_STORED)) == "ARCHIVE_TOO_MANY_ENTRIES"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**30
    assert refused(header.tobuf(tarfile.GNU_FORMAT) + bytes(2 * 2**20)) == "ARCHIVE_TOO_MANY_ENTRIES"


def test_an_encrypted_zip() -> None:
    data = bytearray(zipped([("a.jpg", b"1")], zipfile.ZIP_STORED))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + place
        data[at : at + 2] = struct.pack("<H", 1)
    assert refused(bytes(data)) == "ARCHIVE_ENCRYPTED"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_with_memory_of_their_own(method: int) -> None:
    assert refused(zipped([("a.jpg", b"1")], method)) == "ARCHIVE_COMPRESSION"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive at all",
        b"PK\x03\x04 no more",
        b"\x1f\x8b no gzip",
        os.urandom(5000),
        zipped([("a.jpg", b"1" * 1000)])[:-30],
        tarred([("a.jpg", os.urandom(9000))])[:5000],
        tarred_gz([("a.jpg", os.urandom(90_000))])[:-5000],
        tarred([("a.jpg", b"1")], "w:xz"),
    ],
)
def test_what_is_no_archive(data: bytes) -> None:
    assert refused(data) == "ARCHIVE_UNREADABLE"


def test_an_entry_that_is_damaged_is_told_when_it_is_read(opened: Callable[[bytes], Archive]) -> None:
    data = bytearray(zipped([("a.jpg", b"1" * 100), ("b.jpg", b"2" * 100)], zipfile.ZIP_STORED))
    data[data.index(b"1" * 100) + 50] ^= 0xFF
    archive = opened(bytes(data))
    with pytest.raises(ArchiveError) as caught:
        archive.read(archive.entries[0], 1000)
    assert caught.value.stable_reason == "ARCHIVE_ENTRY_DAMAGED"
    assert archive.read(archive.entries[1], 1000) == b"2" * 100


def test_a_size_that_lies_gives_no_more_than_it_says(opened: Callable[[bytes], Archive]) -> None:
    data = bytearray(zipped([("a.jpg", bytes(10_000))]))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 10)
    archive = opened(bytes(data))
    with pytest.raises(ArchiveError):
        archive.read(archive.entries[0], 2**20)


def test_names_that_are_no_text(opened: Callable[[bytes], Archive]) -> None:
    data = tarred([("caf\u00e9.jpg", b"1")]).replace("caf\u00e9".encode(), b"caf\xe9\xe9")
    header = bytearray(data[:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (entry,) = opened(bytes(header) + data[512:]).entries
    assert entry.name.encode()  # it can be told to callers


names = st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12), max_size=6)


@given(names=names, kind=st.sampled_from(["zip", "tar"]))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_the_names_entries_are_inside_and_apart(names: list[str], kind: str) -> None:
    data = KINDS[kind]([(name.replace("\0", "0"), b"") for name in names])
    with stored(data) as file:
        try:
            entries = Archive(file, len(data)).entries
        except ArchiveError:
            return
        places = {os.path.normpath(f"/safe/{entry.name}").lower() for entry in entries}
        assert len(places) == len(entries)
        assert all(place.startswith("/safe/") for place in places)


def test_an_entry_without_a_name_in_a_zip() -> None:
    """The reader ends a name at its first zero byte; what is left of this one is nothing."""
    data = zipped([("a.jpg", b"1"), ("qqqqq", b"2")]).replace(b"qqqqq", b"\0qqqq")
    assert refused(data) == "ARCHIVE_NAME_INVALID"


def test_damage_anywhere_is_the_archives_fault(pack: Callable[[Files], bytes]) -> None:
    """Whatever bytes are changed or cut off, it is read or refused in words, and never ends in a fault of ours."""
    whole = pack([(f"visible/p/c_{n}.jpg", bytes(range(200)) * 2) for n in range(3)])
    random = Random(7)
    opened = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        if random.random() < 0.2:
            del data[random.randrange(len(data)) :]
        with stored(bytes(data)) as file:
            try:
                archive = Archive(file, len(data))
            except ArchiveError:
                continue
            opened += 1
            for entry in archive.entries:
                with suppress(ArchiveError):
                    archive.read(entry, 1000)
            archive.close()
    assert opened < 400
