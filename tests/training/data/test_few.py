"""Identities with fewer than K images in a part."""

from pathlib import Path

import numpy as np
import pytest

from training.data.few import Few
from training.data.images import Images
from training.data.places import OUTLIER
from training.data.samplers import Draw, Part
from training.settings import DataSettings
from vireid.datasets import open_dataset
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess


@pytest.fixture
def crops(blocks: Path) -> Images:
    return Images(open_dataset("sysu-mm01", blocks).train, Preprocess(64, 32), 64)


def labels(count: int, **sizes: int) -> np.ndarray:
    found = np.full(count, OUTLIER, np.int64)
    held = np.repeat([int(name[1:]) for name in sizes], list(sizes.values()))
    found[: len(held)] = held
    return found


def test_few_images_are_told_of_once_until_they_change(
    crops: Images, caplog: pytest.LogCaptureFixture
) -> None:
    few = Few(DataSettings(images=3), crops)
    draw = Draw((Part(labels(len(crops), _0=4, _1=2, _2=1)), Part(labels(len(crops), _0=3, _1=3))))
    few.check(draw)
    few.check(draw)
    (told,) = caplog.messages
    assert told.startswith("part 1 of a batch: 2 of 3 identities have fewer than 3 images: identity 1 (")
    assert f"identity 1 ({crops.name(4)}) has 2, identity 2 ({crops.name(6)}) has 1" in told
    assert "part 2" not in told
    few.check(Draw((Part(labels(len(crops), _0=2)),)))
    assert len(caplog.messages) == 2
    assert "1 of 1 identities" in caplog.messages[1]


def test_few_images_can_be_refused(crops: Images) -> None:
    few = Few(DataSettings(images=4, few="refuse"), crops)
    many = {f"_{name}": 3 for name in range(7)}
    with pytest.raises(
        TrainingError, match=r"7 of 7 identities.* has 3 and 2 more; expected data\.images=4 of each"
    ):
        few.check(Draw((Part(labels(len(crops), **many)),)))


def test_enough_images_or_parts_without_groups_are_nothing_to_tell(
    crops: Images, caplog: pytest.LogCaptureFixture
) -> None:
    few = Few(DataSettings(images=2, few="refuse"), crops)
    short = labels(len(crops), _0=1, _1=1)
    few.check(
        Draw((Part(labels(len(crops), _0=2, _1=3)), Part(short, grouped=False), Part(short, fill=True)))
    )
    assert caplog.messages == []
