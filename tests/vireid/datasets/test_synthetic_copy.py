"""What the generator draws is what the readers read, verification accepts and the protocols measure."""

from pathlib import Path

import numpy as np
import pytest

from vireid.datasets import open_dataset
from vireid.datasets.verify import detect, verify
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.features import Features
from vireid.evaluation.protocols import choose

PRESETS = {"sysu-like": "sysu-mm01", "regdb-like": "regdb", "llcm-like": "llcm"}


@pytest.mark.parametrize(("preset", "name"), PRESETS.items())
def test_the_round_trip(preset: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("numba")
    from vireid.datasets.synthetic.layout import draw_dataset

    root = draw_dataset(tmp_path / "drawn", preset, people=5, images_per_camera=1, seed=3)
    assert detect(root) == name
    report = verify(root)
    assert report.ok, report.problems
    assert report.synthetic
    dataset = open_dataset(name, root)
    assert dataset.synthetic
    assert set(dataset.train.persons.tolist()).isdisjoint(dataset.query.persons.tolist())
    eye = np.eye(2000)
    result = evaluate(
        Features(eye[dataset.query.persons], eye[dataset.gallery.persons]), dataset, choose(name)
    )
    assert result.synthetic
    assert result.mean.mean_ap == 1.0
