"""Batches for a method: images, modality, index. Never a person."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, starmap

import numpy as np
import torch
from torch import Tensor

from training import chance
from training.data.augment import augment
from training.data.images import Images
from training.data.samplers import IdentitySampler
from training.data.shares import Share
from training.settings import DataSettings
from vireid.arrays import Int64Array
from vireid.types import Modality


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees.

    Attributes:
        images: augmented, RGB 0..255, float, (B, H, W, 3).
        modality: 0 visible, 1 infrared, (B,).
        index: place in the training split, (B,).
        view: 1 for a visible image that stands in the batch a second time, varied in another way, else 0, (B,).
            These rows come after all others.
        parts: how many, of one length each, the rows stand in.
    """

    images: Tensor
    modality: Tensor
    index: Tensor
    view: Tensor
    parts: int = 1


WHOLE = Share()


def batches(
    images: Images,
    sampler: IdentitySampler,
    wanted: DataSettings,
    *,
    epoch: int,
    seed: int,
    share: Share = WHOLE,
) -> Generator[Batch, None, None]:
    """Load the batches of one epoch; a pure function of its arguments, however many threads prepare how many ahead.

    An image is varied by chance that its place in the whole batch says, whoever's share it is in.

    Args:
        images: of the training split.
        sampler: says which.
        wanted: augmentation.
        epoch: from 0.
        seed: of the run.
        share: of every batch; the whole if left out.
    """

    def made(number: int, whole: Int64Array) -> Batch:
        places, parts = np.arange(len(whole)), sampler.parts
        if wanted.views == 2:
            again = np.flatnonzero(images.modality[whole] == Modality.VISIBLE)
            # second views are parts of a batch too, as long as the others
            parts += len(again) * parts // len(whole)
            places = np.concatenate([places, again])
        rows = share.rows(len(places), parts)
        index = whole[places[rows]]
        first, back = np.unique(index, return_inverse=True)
        crops = torch.from_numpy(images.get(first)[back]).float()
        modality = torch.from_numpy(images.modality[index])
        view = torch.from_numpy((rows >= len(whole)).astype(np.int64))
        varied = augment(crops, modality, wanted, chance.of_rows(seed, epoch, number, rows.tolist()), view)
        pin = torch.cuda.is_available()
        return Batch(varied.pin_memory() if pin else varied, modality, torch.from_numpy(index), view, parts)

    drawn = enumerate(sampler.epoch(epoch))
    yield from _ahead(made, drawn, wanted) if wanted.ahead else starmap(made, drawn)


def _ahead(
    made: Callable[[int, Int64Array], Batch], drawn: Iterator[tuple[int, Int64Array]], wanted: DataSettings
) -> Iterator[Batch]:
    """Yield the batches in their order, while other threads make the next ones."""
    with ThreadPoolExecutor(max_workers=wanted.loaders, thread_name_prefix="batches") as pool:
        waiting = deque(pool.submit(made, *each) for each in islice(drawn, wanted.ahead))
        try:
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(made, *each) for each in islice(drawn, 1))
                yield batch
        finally:
            # a reader that stops early waits for what is being made, not for all that was asked for
            for future in waiting:
                future.cancel()
