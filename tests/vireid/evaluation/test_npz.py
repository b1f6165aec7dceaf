"""Files of features: what is written is read back, and what cannot be used is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.datasets import open_dataset
from vireid.datasets.split import Dataset
from vireid.errors import EvaluationError
from vireid.evaluation import npz, npz_case
from vireid.evaluation.npz import Listed
from vireid.evaluation.protocols import preset

Draw = Callable[..., Path]
N, D = 6, 4


def content(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "features": np.random.default_rng(3).standard_normal((N, D)).astype(np.float32),
        "person": np.array([1, 1, 2, 2, 3, 3]),
        "camera": np.array([3, 6, 3, 6, 3, 6]),
        "modality": np.ones(N, dtype=np.int64),
        "path": np.array([f"cam/{row}.jpg" for row in (5, 4, 3, 2, 1, 0)]),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def saved(file: Path, /, **changes: Any) -> Path:
    np.savez(file, **content(**changes))
    return file


def test_rows_are_put_in_the_order_of_their_paths(tmp_path: Path) -> None:
    found = npz.read(saved(tmp_path / "q.npz"))
    plain = content()
    assert found.path == tuple(sorted(plain["path"].tolist()))
    assert found.person.tolist() == [3, 3, 2, 2, 1, 1]
    assert found.camera.tolist() == [6, 3, 6, 3, 6, 3]
    assert (found.vectors == plain["features"][::-1]).all()


def test_without_paths_rows_stay_where_they_are(tmp_path: Path) -> None:
    found = npz.read(saved(tmp_path / "q.npz", path=None, modality=None))
    assert found.path == ()
    assert found.person.tolist() == [1, 1, 2, 2, 3, 3]
    assert found.modality is None
    assert found.flip == "given"


@pytest.mark.parametrize("kind", [np.int16, np.float16, np.float32, np.float64])
def test_any_numbers_are_features(kind: type, tmp_path: Path) -> None:
    wanted = np.arange(N * D).reshape(N, D).astype(kind)
    found = npz.read(saved(tmp_path / "q.npz", features=wanted, path=None))
    assert found.vectors.dtype == (np.float32 if kind is np.float32 else np.float64)
    assert (found.vectors == wanted).all()


def test_modality_in_words_or_numbers(tmp_path: Path) -> None:
    words = np.array(["visible", "infrared"] * 3)
    told = npz.read(saved(tmp_path / "w.npz", modality=words, path=None)).modality
    counted = npz.read(saved(tmp_path / "n.npz", modality=np.array([0, 1] * 3), path=None)).modality
    assert told is not None
    assert counted is not None
    assert told.tolist() == counted.tolist() == [0, 1] * 3


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    listed = npz.read(saved(tmp_path / "q.npz"))
    for name in ("a", "b"):
        npz.write(tmp_path / f"deep/{name}.npz", listed)
    first, second = (tmp_path / f"deep/{name}.npz" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    again = npz.read(first)
    for field in ("vectors", "person", "camera", "modality"):
        assert (getattr(again, field) == getattr(listed, field)).all()
    assert again.path == listed.path
    assert np.load(first)["features"].dtype == np.float32  # anybody can read it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"person": None},
            "has no person; it has camera, features, modality, path; expected arrays features",
        ),
        ({"features": np.zeros(6)}, r"features are float64 \(6,\); expected numbers \(N, D\)"),
        ({"features": np.zeros((0, 4))}, "N and D at least 1"),
        ({"features": np.full((6, 4), "x")}, "features are <U1"),
        ({"person": np.arange(5)}, r"person is \(5,\); 6 rows of features need \(6,\)"),
        ({"person": np.array(["0001"] * 6)}, "person holds <U4; expected whole numbers"),
        ({"camera": np.ones(6)}, "camera holds float64; expected whole numbers"),
        ({"modality": np.full(6, 2)}, "modality is 0 or visible, 1 or infrared"),
        ({"modality": np.full(6, "thermal")}, "modality is 0 or visible, 1 or infrared"),
        ({"path": np.array(["a"] * 6)}, "the path a is there twice"),
        ({"path": np.arange(6)}, "path holds int64; expected text"),
        ({"flip": np.array(["none"] * 2)}, r"flip is \(2,\); expected a single value"),
        ({"flip": np.array("perhaps")}, "flip is one of none, average, given, not 'perhaps'"),
    ],
)
def test_what_cannot_be_used(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=message):
        npz.read(saved(tmp_path / "q.npz", **changes))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"absent\.npz is missing; write it with: vireid evaluate extract"
    ):
        npz.read(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("features")
    with pytest.raises(EvaluationError, match=r"text\.npz cannot be read as an \.npz file"):
        npz.read(tmp_path / "text.npz")
    whole = saved(tmp_path / "q.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EvaluationError, match=r"cut\.npz cannot be read as an \.npz file"):
        npz.read(tmp_path / "cut.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(EvaluationError, match=r"single\.npy is a single array and no \.npz file"):
        npz.read(tmp_path / "single.npy")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", **content(person=np.array([{"a": 1}] * N, dtype=object)))
    with pytest.raises(EvaluationError, match=r"p\.npz cannot be read as an \.npz file"):
        npz.read(tmp_path / "p.npz")


def test_a_turned_protocol_takes_what_asks_as_the_query(tmp_path: Path) -> None:
    visible = saved(tmp_path / "visible.npz", modality=np.zeros(N, dtype=int), camera=np.array([1, 2] * 3))
    infrared = saved(tmp_path / "infrared.npz")
    case = npz_case.of_files(visible, infrared, preset("llcm/v1"))
    assert {s.camera for s in case.dataset.gallery.samples} == {
        1,
        2,
    }  # it is the dataset's own side that turns
    assert {s.camera for s in case.dataset.query.samples} == {3, 6}


@pytest.mark.parametrize(
    ("what", "ours", "theirs"),
    [("space_id", "a" * 64, "b" * 64), ("bundle_sha256", "a" * 64, ""), ("flip", "average", "none")],
)
def test_two_files_of_different_models(what: str, ours: str, theirs: str, tmp_path: Path) -> None:
    query = saved(tmp_path / "q.npz", **{what: np.array(ours)})
    gallery = saved(tmp_path / "g.npz", **{what: np.array(theirs)})
    with pytest.raises(
        EvaluationError, match=f"the query features say {what} {ours[:12]}, the gallery features"
    ):
        npz_case.of_files(query, gallery, preset("folder"))


class TestBesideTheirDataset:
    @pytest.fixture
    def dataset(self, llcm_tree: Draw) -> Dataset:
        return open_dataset("llcm", llcm_tree())

    @pytest.fixture
    def folder(self, dataset: Dataset, tmp_path: Path) -> Path:
        for file, split in zip(npz.file_names(dataset), (dataset.query, dataset.gallery), strict=True):
            vectors = np.random.default_rng(len(file)).standard_normal((len(split), D))
            about = {"flip": "none", "space_id": "s", "bundle_sha256": "b", "synthetic": False}
            npz.write(tmp_path / file, npz.of_split(split, dataset.root, vectors, about))
        return tmp_path

    def change(self, file: Path, /, **arrays: Any) -> None:
        with np.load(file) as found:
            changed = {**found, **arrays}
        np.savez(file, **changed)

    def test_each_image_gets_its_own_row(self, dataset: Dataset, folder: Path) -> None:
        assert npz.file_names(dataset) == ("infrared.npz", "visible.npz")
        shuffled = np.random.default_rng(0).permutation(len(dataset.query))
        with np.load(folder / "infrared.npz") as found:
            one = {name: found[name] for name in found.files}
        per_row = ("features", "person", "camera", "modality", "path")
        np.savez(folder / "infrared.npz", **{k: v[shuffled] if k in per_row else v for k, v in one.items()})
        case = npz_case.of_dataset(folder, dataset)
        assert (case.features.query == one["features"]).all()
        assert (case.flip, case.space_id, case.bundle_sha256, case.given) == ("none", "s", "b", True)

    def test_another_persons_number(self, dataset: Dataset, folder: Path) -> None:
        wrong = dataset.gallery.persons.copy()
        wrong[2] = 7
        self.change(folder / "visible.npz", person=wrong)
        with pytest.raises(
            EvaluationError, match=r"names person 7 for test_vis/cam.*, the dataset .* \(1 differ\)"
        ):
            npz_case.of_dataset(folder, dataset)

    def test_an_image_without_features(self, dataset: Dataset, folder: Path) -> None:
        paths = np.load(folder / "visible.npz")["path"]
        paths[0] = "elsewhere.jpg"
        self.change(folder / "visible.npz", path=paths)
        with pytest.raises(EvaluationError, match="1 of them without features: the first is test_vis/cam"):
            npz_case.of_dataset(folder, dataset)

    def test_rows_without_paths_must_fit(self, dataset: Dataset) -> None:
        split = dataset.query
        listed = Listed(np.zeros((len(split), D)), split.persons, split.cameras)
        assert len(npz.in_order(Path("q.npz"), listed, split, dataset.root)) == len(split)
        short = Listed(listed.vectors[1:], listed.person[1:], listed.camera[1:])
        with pytest.raises(EvaluationError, match=r"q\.npz holds 7 rows without paths; query has 8 images"):
            npz.in_order(Path("q.npz"), short, split, dataset.root)
