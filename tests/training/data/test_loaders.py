"""Batches: what they hold, what cannot leak into them, preparing ahead, and the cache."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import images as images_module
from training.data import loaders
from training.data.images import Images
from training.data.samplers import IdentitySampler, two_modalities
from training.data.shares import Share
from training.settings import DataSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import DatasetError, TrainingError
from vireid.images.preprocess import Preprocess

SIZE = Preprocess(64, 32)
WANTED = DataSettings(persons=2, images=2, pad=2)


@pytest.fixture
def train(blocks: Path) -> Split:
    return open_dataset("sysu-mm01", blocks).train


def drawn(split: Split, wanted: DataSettings, count: int = 4, epoch: int = 4) -> list[loaders.Batch]:
    images = Images(split, SIZE, 64)
    sampler = IdentitySampler(
        two_modalities(np.arange(len(split)) % 4, images.modality),
        persons=2,
        images=2,
        iterations=count,
        seed=3,
    )
    return list(loaders.batches(images, sampler, wanted, epoch=epoch, seed=3))


def same(one: list[loaders.Batch], other: list[loaders.Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.modality, b.modality)
        and torch.equal(a.index, b.index)
        for a, b in zip(one, other, strict=True)
    )


def test_a_batch_holds_an_index_and_never_a_person(train: Split) -> None:
    assert {field.name for field in dataclasses.fields(loaders.Batch)} == {
        "images",
        "modality",
        "index",
        "view",
        "parts",
    }
    (batch,) = drawn(train, WANTED, 1)
    assert batch.images.shape == (8, 64, 32, 3)
    assert batch.images.dtype == torch.float32
    assert [train.samples[place].modality for place in batch.index] == batch.modality.tolist()


def test_batches_do_not_depend_on_true_persons(train: Split) -> None:
    shuffled = np.random.default_rng(0).permutation(train.persons)
    for persons in (shuffled, np.full(len(train), -1)):
        other = Split(
            "train",
            tuple(dataclasses.replace(s, person=int(p)) for s, p in zip(train.samples, persons, strict=True)),
        )
        assert same(drawn(train, WANTED), drawn(other, WANTED))


@pytest.mark.parametrize("ahead", [1, 2, 9])
def test_preparing_ahead_changes_nothing(train: Split, ahead: int) -> None:
    for loaders_ in (1, 3):
        threads = WANTED.model_copy(update={"ahead": ahead, "loaders": loaders_})
        assert same(drawn(train, WANTED.model_copy(update={"ahead": 0})), drawn(train, threads))
    assert not same(drawn(train, WANTED), drawn(train, WANTED, epoch=5))


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("count", [2, 4])
def test_shares_are_one_batch_divided(train: Split, views: int, count: int) -> None:
    """Put together part by part they are the whole batch: the same images, varied alike."""
    images = Images(train, SIZE, 64)
    wanted = DataSettings(persons=4, images=2, pad=2, views=views)  # type: ignore[arg-type]
    sampler = IdentitySampler(
        two_modalities(np.arange(len(train)) % 5, images.modality), persons=4, images=2, iterations=2, seed=3
    )

    def read(share: Share) -> list[loaders.Batch]:
        return list(loaders.batches(images, sampler, wanted, epoch=1, seed=3, share=share))

    whole, shares = read(Share()), [read(Share(place, count)) for place in range(count)]
    for number, batch in enumerate(whole):
        own = [share[number] for share in shares]
        assert batch.parts == 1 + views == own[0].parts
        for name in ("images", "modality", "index", "view"):
            pieces = [getattr(each, name).unflatten(0, (batch.parts, -1)) for each in own]
            assert torch.equal(torch.cat(pieces, 1).flatten(0, 1), getattr(batch, name)), name
        # whole identities, in both modalities
        for each in own:
            persons = (each.index % 5).unflatten(0, (each.parts, -1))
            assert (persons == persons[:1]).all()
            assert len(persons.unique()) == 4 // count


def test_a_batch_that_processes_cannot_divide_is_refused() -> None:
    Share(1, 2).demand(4)
    with pytest.raises(TrainingError, match=r"data\.persons is 5, and 3 processes .*--set data\.persons=6"):
        Share(0, 3).demand(5)


def test_a_reader_that_stops_leaves_no_thread(train: Split) -> None:
    images = Images(train, SIZE, 64)
    sampler = IdentitySampler(
        two_modalities(np.arange(len(train)) % 4, images.modality),
        persons=2,
        images=2,
        iterations=500,
        seed=3,
    )
    reading = loaders.batches(images, sampler, WANTED.model_copy(update={"ahead": 3}), epoch=0, seed=3)
    next(reading)
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_broken_image_is_named_also_from_another_thread(train: Split, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    broken = Split("train", tuple(dataclasses.replace(sample, path=bad) for sample in train.samples))
    for ahead in (0, 2):
        with pytest.raises(DatasetError, match=r"bad\.jpg"):
            drawn(broken, WANTED.model_copy(update={"ahead": ahead}))


def test_decoded_crops_are_kept_while_they_fit(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = images_module.pixels.read

    def counted(path: Path) -> np.ndarray:
        read.append(path)
        return original(path)

    monkeypatch.setattr(images_module.pixels, "read", counted)
    everything = np.arange(12)
    roomy = Images(train, SIZE, 64)
    first = roomy.get(everything)
    assert np.array_equal(roomy.get(everything), first)
    assert len(read) == 12
    read.clear()
    # 1 MiB holds 5 crops of this size, the other 7 are read again
    tight = Images(train, Preprocess(256, 256), 1)
    before = tight.get(everything)
    assert np.array_equal(tight.get(everything), before)
    assert len(read) == 12 + 7
