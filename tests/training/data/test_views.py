"""Two visible views: which rows they are, how they are varied, and that asking for one changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import chance, checkpoint, run
from training.data import loaders
from training.data.augment import augment
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import IdentitySampler, two_modalities
from training.settings import DataSettings, RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

PART = 4  # two identities, two images of each
STILL = {"flip": 0.0, "pad": 0, "erase": 0.0, "exchange": 0.0, "grey": 0.0}


@pytest.fixture
def train(blocks: Path) -> Split:
    return open_dataset("sysu-mm01", blocks).train


def drawn(split: Split, **wanted: Any) -> list[Batch]:
    images = Images(split, Preprocess(64, 32), 64)
    draw = two_modalities(np.arange(len(split)) % 4, images.modality)
    chosen = DataSettings.model_validate({"persons": 2, "images": 2, "pad": 2, **wanted})
    return list(loaders.batches(images, IdentitySampler(draw, persons=2, images=2, iterations=3, seed=3), chosen,
                                epoch=1, seed=3))  # fmt: skip


def test_visible_images_stand_in_a_batch_again_after_all_others(train: Split) -> None:
    one, two = drawn(train), drawn(train, views=2)
    for single, double in zip(one, two, strict=True):
        assert torch.equal(single.view, torch.zeros(2 * PART, dtype=torch.int64))
        assert double.view.tolist() == [0] * (2 * PART) + [1] * PART
        again = double.view == 1
        assert (double.modality[again] == Modality.VISIBLE).all()
        first = single.index[single.modality == Modality.VISIBLE]
        assert torch.equal(double.index[again], first)
        # the rows there were already are varied as they would be alone
        assert torch.equal(double.images[~again], single.images)
        assert not torch.equal(double.images[again], double.images[double.modality == 0][:PART])


def test_the_second_view_shows_one_channel_of_the_same_picture(train: Split) -> None:
    (batch, *_) = drawn(train, views=2, **STILL)
    first, second = batch.images[:PART], batch.images[batch.view == 1]
    for picture, other in zip(first, second, strict=True):
        assert any(
            torch.equal(other[..., shown], picture[..., channel]) for shown in (0,) for channel in range(3)
        )
        assert (other == other[..., :1]).all()
    (batch, *_) = drawn(train, views=2, second_exchange=0.0, **STILL)
    assert torch.equal(batch.images[:PART], batch.images[batch.view == 1])


def test_jitter_is_for_second_views_and_stays_within_its_strength() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(60, 120, (40, 6, 3, 3), generator=random).float()
    view = torch.arange(40) % 2
    wanted = DataSettings.model_validate({**STILL, "second_exchange": 0.0, "second_jitter": 0.2})
    made = augment(
        images, torch.zeros(40, dtype=torch.int64), wanted, chance.of_rows(0, 0, 0, range(40)), view
    )
    assert torch.equal(made[::2], images[::2])
    assert not any(torch.equal(a, b) for a, b in zip(made[1::2], images[1::2], strict=True))
    # contrast keeps the mean grey, saturation the grey of every pixel: what remains is brightness
    grey = torch.tensor([0.299, 0.587, 0.114])
    share = (made @ grey).mean((1, 2)) / (images @ grey).mean((1, 2))
    assert float(share.min()) >= 0.8 - 1e-4
    assert float(share.max()) <= 1.2 + 1e-4
    assert float(share[1::2].std()) > 0.05


def test_training_with_two_views_in_groups_resumes_to_the_bit(
    blocks: Path, tmp_path: Path, tiny: RunSettings
) -> None:
    def changed(**data: Any) -> RunSettings:
        told = tiny.model_dump()
        return RunSettings.model_validate(
            {
                **told,
                "epochs": 2,
                "iterations": 2,
                "bn_group": 6,
                "data": {**told["data"], "views": 2, **data},
            }
        )

    run.start(tmp_path / "whole", changed(), blocks, None, "cpu").loop.train()
    run.start(tmp_path / "parts", changed(), blocks, None, "cpu").loop.train(until=1)
    run.resume(tmp_path / "parts", device="cpu").loop.train()
    run.start(tmp_path / "plain", changed(views=1, persons=3).model_copy(update={"bn_group": 4}), blocks, None,
              "cpu").loop.train()  # fmt: skip
    states = [checkpoint.load_model(tmp_path / name).state_dict() for name in ("whole", "parts", "plain")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
