"""The measurements against a slow reference, and each condition on its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import evidence
from export.evidence import Evidence, Exam, Synthetic
from training.bridge import INFRARED, VISIBLE, Crops
from vireid.errors import DatasetError
from vireid.images.preprocess import Preprocess


class Looker:
    """An engine that embeds an image by its first pixels."""

    dim = 12

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        rows = images.reshape(len(images), -1)[:, :12].astype(np.float32) - 100
        rows[:, :3] += 40 * modality[:, None]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def crops(seed: int, modalities: tuple[int, ...] = (VISIBLE, INFRARED)) -> Crops:
    rng = np.random.default_rng(seed)
    labels = [(p, 3 * m + c, m) for p in range(6) for m in modalities for c in range(3) for _ in range(2)]
    person, camera, modality = np.array(labels, np.int64).T
    looks = rng.integers(0, 256, (6, 4, 4, 3))
    images = np.clip(looks[person] + rng.normal(0, 60, (len(labels), 4, 4, 3)), 0, 255).astype(np.uint8)
    scene = np.zeros(len(labels), np.int64)
    return Crops(images, person.copy(), camera.copy(), modality.copy(), scene)


def slow_mean_ap(asked: np.ndarray, query: Crops, found: np.ndarray, gallery: Crops) -> float:
    precisions = []
    for q in range(len(query)):
        seen = [
            g
            for g in range(len(gallery))
            if (gallery.person[g], gallery.camera[g]) != (query.person[q], query.camera[q])
        ]
        seen.sort(key=lambda g: -float(asked[q] @ found[g]))
        hits = [at for at, g in enumerate(seen, 1) if gallery.person[g] == query.person[q]]
        precisions.append(np.mean([n / at for n, at in enumerate(hits, 1)]))
    return float(np.mean(precisions))


def test_measured_as_a_slow_reference_does() -> None:
    drawn, real, engine = crops(1), crops(2, (VISIBLE,)), Looker()
    found = evidence.measure(engine, Exam(real, {"drawn": drawn}))
    day, night = drawn.of(VISIBLE), drawn.of(INFRARED)
    visible = engine.embed(day.images, day.modality)
    infrared = engine.embed(night.images, night.modality)
    measured = found.synthetic["drawn"]
    assert measured.visible == pytest.approx(slow_mean_ap(visible, day, visible, day), abs=1e-6)
    assert measured.infrared == pytest.approx(slow_mean_ap(infrared, night, infrared, night), abs=1e-6)
    assert measured.across == pytest.approx(slow_mean_ap(infrared, night, visible, day), abs=1e-6)
    plain = engine.embed(real.images, real.modality)
    assert found.real_visible == pytest.approx(slow_mean_ap(plain, real, plain, real), abs=1e-6)
    shown = evidence.in_grey(real)
    grey = engine.embed(shown.images, shown.modality)
    assert found.real_grey == pytest.approx(slow_mean_ap(grey, real, plain, real), abs=1e-6)
    assert found.as_json()["synthetic"]["drawn"]["infrared_to_visible_map"] == round(measured.across, 4)


def test_grey_is_luminance_and_counts_as_infrared() -> None:
    before = crops(3, (VISIBLE,))
    after = evidence.in_grey(before)
    assert (after.modality == INFRARED).all()
    expected = np.asarray(Image.fromarray(before.images[0]).convert("L"), int)
    for channel in range(3):
        assert np.abs(after.images[0, ..., channel].astype(int) - expected).max() <= 1


def test_the_real_crops_are_read_with_their_tracks(repository: Path) -> None:
    real = evidence.read_real(repository / "tests" / "data" / "vtest", Preprocess(64, 32))
    assert real.images.shape == (225, 64, 32, 3)
    assert (len(np.unique(real.person)), len(np.unique(real.camera))) == (10, 29)
    assert (real.modality == VISIBLE).all()
    for track in np.unique(real.camera):
        assert len(np.unique(real.person[real.camera == track])) == 1


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.csv"):
        evidence.read_real(tmp_path, Preprocess(64, 32))


START = Evidence(0.968, 0.9, {"sysu": Synthetic(0.8, 0.7, 0.15, 0.2), "llcm": Synthetic(0.6, 0.5, 0.2, 0.3)})
GOOD = Evidence(0.9585, 0.8, {"sysu": Synthetic(0.8, 0.7, 0.3, 0.4), "llcm": Synthetic(0.6, 0.5, 0.25, 0.3)})


def test_a_candidate_that_meets_every_condition_has_no_shortfall() -> None:
    assert evidence.shortfalls(START, GOOD) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(GOOD, real_visible=0.957), "real visible 0.9570"),
        (replace(GOOD, synthetic={**GOOD.synthetic, "sysu": Synthetic(0.79, 0.7, 0.3, 0)}), "sysu visible"),
        (replace(GOOD, synthetic={**GOOD.synthetic, "llcm": Synthetic(0.6, 0.49, 0.25, 0)}), "llcm infrared"),
        (replace(GOOD, synthetic={**GOOD.synthetic, "sysu": Synthetic(0.8, 0.7, 0.29, 0)}), "sysu across"),
    ],
)
def test_each_condition_is_told_when_missed(found: Evidence, words: str) -> None:
    misses = evidence.shortfalls(START, found)
    assert len(misses) == 1
    assert words in misses[0]
