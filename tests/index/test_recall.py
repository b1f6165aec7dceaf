"""Recall and latency of backends: the arithmetic against a backend that is known to miss, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from index import recall
from index.backend import Backend
from index.command import app
from index.exact import ExactBackend
from index.gallery import Enrolment
from index.scan import ScanBackend
from index.store import GalleryStore
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import GalleryNotFound, InvalidRequest
from vireid.types import ItemMeta, Modality

DIM = 16


def rows(count: int) -> Float32Array:
    found = np.random.default_rng(3).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


class Forgetful(ExactBackend):
    """Never finds an odd id."""

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        return super().search(queries, k, np.arange(0, len(self), 2))


def test_recall_is_the_share_of_true_neighbours() -> None:
    vectors = rows(300)
    makers = {"scan": ScanBackend, "exact": ExactBackend, "forgetful": Forgetful}
    found = {one.name: one for one in recall.measure(makers, vectors, queries=300)}
    assert found["scan"].recall == found["exact"].recall == {1: 1.0, 10: 1.0, 100: 1.0}
    likeness = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(likeness, -2)
    order = np.argsort(-likeness, axis=1)
    for k in (1, 10, 100):
        assert found["forgetful"].recall[k] == pytest.approx((order[:, :k] % 2 == 0).mean())
    assert all(
        0 < one.p50_ms <= one.p95_ms and one.batch_ms > 0 and one.build_s > 0 for one in found.values()
    )


def test_few_items() -> None:
    makers: dict[str, type[Backend]] = {"scan": ScanBackend}
    assert next(recall.measure(makers, rows(5))).recall == {1: 1.0, 4: 1.0}
    with pytest.raises(InvalidRequest, match="at least 2"):
        next(recall.measure(makers, rows(1)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = GalleryStore(tmp_path / "data", "0" * 64, DIM)
    gallery = store.create("g", store_images=False)
    gallery.enroll(
        [
            Enrolment(f"i{n}", Modality.VISIBLE, ItemMeta(), f"{n:064x}", vector)
            for n, vector in enumerate(rows(40))
        ]
    )
    store.close()
    return tmp_path / "data"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["recall", *map(str, words)], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_command(data: Path, tmp_path: Path) -> None:
    output = run(data, "--gallery", "g", "--queries", 7, "--json", tmp_path / "r.json").splitlines()
    assert output[0] == "g: 40 items of 16 numbers, 7 of them ask"
    words = [
        "backend",
        "build",
        "s",
        "p50",
        "ms",
        "p95",
        "ms",
        "batch",
        "ms",
        "recall@1",
        "recall@10",
        "recall@39",
    ]
    assert output[1].split() == words
    assert [line.split()[0] for line in output[2:]] == ["scan", "faiss", "hnsw", "ivf"]
    assert all(line.split()[-3:] == ["1.0000"] * 3 for line in output[2:])
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["items"], document["dim"], document["queries"]) == (40, 16, 7)
    assert [one["name"] for one in document["backends"]] == ["scan", "faiss", "hnsw", "ivf"]


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_picture(data: Path, tmp_path: Path, suffix: str, begins: bytes) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"recall{suffix}"
    output = run(data, "--gallery", "g", "--backend", "faiss", "--backend", "ivf", "--picture", path)
    assert [line.split()[0] for line in output.splitlines()[2:]] == ["faiss", "ivf"]
    drawn = path.read_bytes()
    assert drawn.startswith(begins)
    if suffix == ".svg":
        for word in (b"faiss", b"ivf", b"Recall@10", b"g: 40 items"):
            assert word in drawn


def test_refusals(data: Path, tmp_path: Path) -> None:
    with pytest.raises(GalleryNotFound):
        run(data, "--gallery", "nobody")
    with pytest.raises(InvalidRequest, match="expected one of scan, scan-file, faiss"):
        run(data, "--gallery", "g", "--backend", "fast")
    with pytest.raises(InvalidRequest, match=r"\.svg or a \.png"):
        run(data, "--gallery", "g", "--picture", tmp_path / "r.pdf")


@pytest.mark.parametrize("option", ["json", "picture"])
def test_a_folder_that_is_not_there_is_said_before_measuring(
    data: Path, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> None:
        raise AssertionError("it was measured first")

    monkeypatch.setattr("index.recall_command.recalls.measure", measured)
    target = tmp_path / "nowhere" / "found.svg"
    found = CliRunner().invoke(app, ["recall", str(data), "-g", "g", f"--{option}", str(target)])
    assert isinstance(found.exception, InvalidRequest)
    assert (found.exception.field, str(tmp_path / "nowhere") in found.exception.message) == (option, True)
