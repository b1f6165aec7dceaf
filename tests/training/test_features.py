"""Embedding a split: order, batches, mirrors, and what it must not change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training import features, models
from training.data.images import Images
from training.models.two_stream import TwoStream
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.images.preprocess import Preprocess

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def crops(blocks: Path) -> Images:
    return Images(open_dataset("sysu-mm01", blocks).query, Preprocess(64, 32), 64)


@pytest.fixture
def network(tiny: RunSettings) -> TwoStream:
    torch.manual_seed(1)
    return models.build(tiny.model)


def test_rows_are_units_in_order_whatever_the_batch(network: TwoStream, crops: Images) -> None:
    rows = features.extract(network, crops)
    assert rows.shape == (len(crops), network.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(features.extract(network, crops, batch_size=5), rows, atol=1e-5)
    # the third image by itself
    network.eval()
    place = np.array([2])
    with torch.inference_mode():
        alone = network(torch.from_numpy(crops.get(place)), torch.from_numpy(crops.modality[place]))
    assert np.allclose(alone[0].numpy(), rows[2], atol=1e-5)


def test_a_mirrored_mean_does_not_depend_on_the_side(network: TwoStream, crops: Images) -> None:
    class Mirrored(Images):
        def get(self, index: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(crops.get(index)[:, :, ::-1])

    mirrored = Mirrored.__new__(Mirrored)
    mirrored.__dict__ = crops.__dict__
    both = features.extract(network, crops, flip=True)
    assert np.allclose(both, features.extract(network, mirrored, flip=True), atol=1e-5)
    assert not np.allclose(both, features.extract(network, crops), atol=1e-3)
    assert np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_changes_nothing(network: TwoStream, crops: Images, training: bool) -> None:
    network.train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features.extract(network, crops)
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
