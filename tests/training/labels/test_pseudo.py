"""Pseudo-labels on disk: what is read is what was written, or it is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from training.labels.pseudo import PseudoLabels, load, save
from vireid.errors import TrainingError


def some(**changes: object) -> PseudoLabels:
    made = PseudoLabels(
        np.array([4, -1, 4, 9]),
        np.array([0.5, 0, 1, 0.25], dtype=np.float32),
        np.array([False, True, False, False]),
        {"by": "dbscan", "eps": 0.6, "radii": [0.58, 0.62]},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_they_come_back(tmp_path: Path) -> None:
    labels = some()
    mark = save(tmp_path / "labels.npz", labels)
    found = load(tmp_path / "labels.npz")
    assert found.labels.tolist() == [4, -1, 4, 9]
    assert found.labels.dtype == np.int64
    assert found.confidence.tolist() == [0.5, 0, 1, 0.25]
    assert found.confidence.dtype == np.float32
    assert found.outlier.tolist() == [False, True, False, False]
    assert found.made == {"by": "dbscan", "eps": 0.6, "radii": [0.58, 0.62]}
    assert found.sha256 == mark == labels.sha256
    assert [p.name for p in tmp_path.iterdir()] == ["labels.npz"]
    assert (len(found), found.classes) == (4, 2)


def test_every_part_is_in_the_fingerprint() -> None:
    marks = {
        some().sha256,
        some(labels=np.array([4, -1, 4, 8])).sha256,
        some(confidence=np.array([0.5, 0, 1, 0.5], dtype=np.float32)).sha256,
        some(outlier=np.array([False, True, False, True])).sha256,
        some(made={"by": "dbscan", "eps": 0.61, "radii": [0.58, 0.62]}).sha256,
    }
    assert len(marks) == 5
    assert some(made={"radii": [0.58, 0.62], "eps": 0.6, "by": "dbscan"}).sha256 == some().sha256
    assert some(labels=np.array([4, -1, 4, 9], dtype=np.int32)).sha256 == some().sha256


def test_numbering() -> None:
    found = some().renumbered()
    assert found.labels.tolist() == [0, -1, 0, 1]
    assert found.made == some().made


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    save(path, some())
    with np.load(path) as file:
        parts = dict(file)
    np.savez(path, **{**parts, "labels": np.array([4, 4, 4, 9])})
    with pytest.raises(
        TrainingError, match="it was changed, or comes from another run; make the labels anew"
    ):
        load(path)


def test_labels_of_another_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    mark = save(path, some())
    assert load(path, mark).classes == 2
    with pytest.raises(TrainingError, match=f"has the fingerprint {mark[:12]}, expected 000000000000"):
        load(path, "0" * 64)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"1,2,3"])
def test_a_file_that_holds_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="holds no pseudo-labels"):
        load(path)


def test_no_damage_comes_through_in_words_of_its_own(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.npz", tmp_path / "labels.npz"
    mark = save(whole, some())
    sound = whole.read_bytes()
    refused = 0
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            assert load(path).sha256 == mark  # a byte that says nothing of the labels
        except TrainingError:
            refused += 1
    assert refused > len(sound) // 2
    # an array alone instead of an archive
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").replace(path)
    with pytest.raises(TrainingError, match="holds no pseudo-labels"):
        load(path)


def test_an_archive_of_something_else_and_no_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", features=np.zeros(3))
    with pytest.raises(TrainingError, match="holds no pseudo-labels"):
        load(tmp_path / "features.npz")
    with pytest.raises(TrainingError, match="is missing; run the stage"):
        load(tmp_path / "absent.npz")


def test_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, labels=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(TrainingError, match="holds no pseudo-labels"):
        load(path)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"does not end in \.npz"):
        save(tmp_path / "labels.json", some())
    with pytest.raises(TrainingError, match="cannot be written: No such file"):
        save(tmp_path / "absent" / "labels.npz", some())
    for made in ({"where": Path()}, {"loss": float("nan")}):
        with pytest.raises(TrainingError, match="cannot be written as JSON"):
            save(tmp_path / "labels.npz", some(made=made))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": np.zeros(3, dtype=np.float32)}, "expected .N,. of each"),
        ({"outlier": np.zeros((4, 1), dtype=bool)}, "expected .N,. of each"),
        ({"confidence": np.array([0, 0, 0, 1.5], dtype=np.float32)}, "outside 0 to 1"),
        ({"confidence": np.array([0, 0, 0, np.nan], dtype=np.float32)}, "outside 0 to 1"),
    ],
)
def test_arrays_that_do_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        some(**changes)
