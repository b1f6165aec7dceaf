"""Images through an engine: the splits' order, both modalities, and unreadable files named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vireid.datasets import open_dataset, pixels
from vireid.engines.fake import FakeEngine
from vireid.errors import DatasetError, EngineError
from vireid.evaluation.extract import embed, extract
from vireid.images.preprocess import Preprocess

Draw = Callable[..., Path]
ENGINE = FakeEngine()
PREPROCESS = Preprocess(*ENGINE.input_size)


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_rows_follow_the_split_whatever_the_batch(batch_size: int, regdb_tree: Draw) -> None:
    dataset = open_dataset("regdb", regdb_tree())
    found = extract(ENGINE, PREPROCESS, dataset, batch_size)
    for split, vectors in ((dataset.query, found.query), (dataset.gallery, found.gallery)):
        for row, sample in enumerate(split.samples):
            image = PREPROCESS.apply(pixels.read(sample.path))[None]
            alone = ENGINE.embed(image, np.array([sample.modality], dtype=np.int64))[0]
            assert vectors[row] == pytest.approx(alone, abs=1e-6)


def test_flip_averages_with_the_mirrored_image(llcm_tree: Draw) -> None:
    split = open_dataset("llcm", llcm_tree()).query
    found = embed(ENGINE, PREPROCESS, split, batch_size=3, flip=True)
    for row, sample in enumerate(split.samples):
        image = PREPROCESS.apply(pixels.read(sample.path))
        pair = np.stack([image, image[:, ::-1]])
        mean = ENGINE.embed(pair, np.full(2, sample.modality, dtype=np.int64)).mean(axis=0)
        assert found[row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert np.abs(found - embed(ENGINE, PREPROCESS, split)).max() > 0.01


class Opposite(FakeEngine):
    """An engine whose feature of a mirrored image is the opposite one."""

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(images), self.dim), dtype=np.float32)
        left, right = (half.mean(axis=(1, 2, 3)) for half in np.split(images.astype(float), 2, axis=2))
        rows[:, 0] = np.where(left > right, 1, -1)
        return rows


def test_features_that_cancel_each_other_out(llcm_tree: Draw) -> None:
    with pytest.raises(EngineError, match=r"opposite features, .*; evaluate without flip averaging"):
        embed(Opposite(), PREPROCESS, open_dataset("llcm", llcm_tree()).query, flip=True)


def test_a_folder_of_one_modality_is_embedded_once(folder_tree: Draw) -> None:
    root = folder_tree()
    for image in (root / "infrared").rglob("*.png"):
        image.unlink()
    (root / "infrared").rename(root / "gone")
    found = extract(ENGINE, PREPROCESS, open_dataset("folder", root))
    assert found.query is found.gallery


def test_an_unreadable_image_is_named(sysu_tree: Draw) -> None:
    root = sysu_tree()
    (root / "cam3/0010/0002.jpg").write_bytes(b"\xff\xd8\xff not any more")
    with pytest.raises(DatasetError, match=r"cam3/0010/0002\.jpg cannot be read: .*; copy it again"):
        embed(ENGINE, PREPROCESS, open_dataset("sysu-mm01", root).query)


def test_progress_is_told(sysu_tree: Draw, capsys: pytest.CaptureFixture[str]) -> None:
    embed(ENGINE, PREPROCESS, open_dataset("sysu-mm01", sysu_tree()).query)
    said = capsys.readouterr()
    assert said.out == ""
    assert "embedding query" in said.err
