"""Images to compare engines on: chosen from a dataset in turns, or drawn, and refused where nothing can be scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import exam
from export.exam import Exam
from vireid.datasets import Split, open_dataset
from vireid.errors import ExportError
from vireid.evaluation.metrics import UNKNOWN
from vireid.images.preprocess import Preprocess

SIZE = Preprocess(16, 8)


def folder(root: Path, kinds: dict[str, dict[str, int]]) -> Path:
    """Write so many images of each person in each modality."""
    random = np.random.default_rng(0)
    for kind, people in kinds.items():
        for person, count in people.items():
            place = root / kind / person
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (20, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"c1_{number}.png")
    return root


def labels(count: int = 4) -> dict[str, np.ndarray]:
    return {
        "person": np.arange(count) // 2,
        "camera": np.ones(count, np.int64),
        "modality": np.arange(count) % 2,
    }


def test_each_person_has_both_modalities_before_any_has_more(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "data",
        {"visible": {"1": 4, "2": 4, "3": 4}, "infrared": {"1": 3, "2": 3, "3": 1}},
    )
    read = open_dataset("folder", root)
    taken = exam.of_dataset(read, SIZE, limit=6)
    pairs = sorted(zip(taken.person.tolist(), taken.modality.tolist(), strict=True))
    assert pairs == [(p, m) for p in (1, 2, 3) for m in (0, 1)]
    assert taken.images.shape == (6, 16, 8, 3)
    every = exam.of_dataset(read, SIZE)
    assert len(every) == 19
    assert len(np.unique(every.images.reshape(19, -1), axis=0)) == 19
    assert every.sha256 == exam.of_dataset(read, SIZE).sha256 != taken.sha256
    assert taken.origin == "6 test images of folder"


def test_people_of_one_modality_come_last(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", {"visible": {"1": 1, "2": 1, "9": 1}, "infrared": {"1": 1, "2": 1}})
    taken = exam.of_dataset(open_dataset("folder", root), SIZE, limit=4)
    assert set(taken.person.tolist()) == {1, 2}


def test_images_of_nobody_known_are_left_out(tmp_path: Path) -> None:
    """They would be found as one person who is many."""
    kinds = {"visible": {"1": 1, "2": 1, "9": 1}, "infrared": {"1": 1, "2": 1, "9": 1}}
    read = open_dataset("folder", folder(tmp_path / "data", kinds))

    def unknown(split: Split) -> Split:
        samples = [replace(one, person=UNKNOWN) if one.person == 9 else one for one in split.samples]
        return replace(split, samples=tuple(samples))

    taken = exam.of_dataset(replace(read, query=unknown(read.query), gallery=unknown(read.gallery)), SIZE)
    assert sorted(taken.person.tolist()) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"visible": {"1": 2, "2": 2}}, "found visible among 4: add those of the other"),
        ({"infrared": {"1": 2, "2": 2}}, "found infrared among 4"),
        ({"visible": {"1": 2}, "infrared": {"2": 2}}, "nobody of the exam is seen in both modalities"),
        ({"visible": {"1": 2}, "infrared": {"1": 2}}, "two people at least"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    tmp_path: Path, kinds: dict[str, dict[str, int]], words: str
) -> None:
    read = open_dataset("folder", folder(tmp_path / "data", kinds))
    with pytest.raises(ExportError, match=words):
        exam.of_dataset(read, SIZE)


def test_shapes_must_fit() -> None:
    images = np.zeros((4, 16, 8, 3), np.uint8)
    with pytest.raises(ExportError, match="expected uint8"):
        Exam(images.astype(np.float32), **labels())
    with pytest.raises(ExportError, match=r"expected \(4,\) each"):
        Exam(images, **labels(5))
    unknown = labels() | {"person": np.full(4, -1)}
    with pytest.raises(ExportError, match="nobody"):
        Exam(images, **unknown)


def test_drawn_people_repeat_and_are_seen_in_both_modalities() -> None:
    told: list[int] = []
    first = exam.drawn(SIZE, people=2, seed=3, advance=told.append)
    assert sum(told) == len(first) == 2 * exam.CAMERAS
    assert first.sha256 == exam.drawn(SIZE, people=2, seed=3).sha256
    assert first.sha256 != exam.drawn(SIZE, people=2, seed=4).sha256
    assert np.bincount(first.modality).tolist() == [8, 4]
    assert first.origin == "2 drawn people (sysu-like, seed 3)"
