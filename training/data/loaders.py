"""Batches for a method: images, modality, index. Never a person."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, starmap

import numpy as np
import torch
from torch import Tensor

from training.data.augment import augment
from training.data.images import Images
from training.data.samplers import IdentitySampler
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
    """

    images: Tensor
    modality: Tensor
    index: Tensor
    view: Tensor


def batches(
    images: Images, sampler: IdentitySampler, wanted: DataSettings, *, epoch: int, seed: int, place: int = 0
) -> Generator[Batch, None, None]:
    """Load the batches of one epoch; a pure function of its arguments, however many threads prepare how many ahead.

    Args:
        images: of the training split.
        sampler: says which.
        wanted: augmentation.
        epoch: from 0.
        seed: of the run.
        place: of the process, each of which has batches of its own.
    """

    def made(number: int, index: Int64Array) -> Batch:
        # chance of its own for every batch: the order in which threads make them does not matter
        words = np.random.SeedSequence([seed, epoch, number, place]).generate_state(1)
        random = torch.Generator().manual_seed(int(words[0]))
        again = np.flatnonzero(images.modality[index] == Modality.VISIBLE) if wanted.views == 2 else index[:0]
        rows = np.concatenate([np.arange(len(index)), again])
        view = torch.from_numpy((np.arange(len(rows)) >= len(index)).astype(np.int64))
        modality = torch.from_numpy(images.modality[index][rows])
        crops = torch.from_numpy(images.get(index)[rows]).float()
        varied = augment(crops, modality, wanted, random, view)
        pin = torch.cuda.is_available()
        return Batch(varied.pin_memory() if pin else varied, modality, torch.from_numpy(index[rows]), view)

    drawn = enumerate(sampler.epoch(epoch, place))
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
