"""Batches for a method: images, modality, index. Never a person."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.augment import augment
from training.data.images import Images
from training.data.samplers import IdentitySampler
from training.settings import DataSettings


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees.

    Attributes:
        images: augmented, RGB 0..255, float, (B, H, W, 3).
        modality: 0 visible, 1 infrared, (B,).
        index: place in the training split, (B,).
    """

    images: Tensor
    modality: Tensor
    index: Tensor


def batches(
    images: Images, sampler: IdentitySampler, wanted: DataSettings, *, epoch: int, seed: int
) -> Iterator[Batch]:
    """Load the batches of one epoch; a pure function of its arguments, however many are prepared ahead.

    Args:
        images: of the training split.
        sampler: says which.
        wanted: augmentation.
        epoch: from 0.
        seed: of the run.
    """
    random = torch.Generator().manual_seed(seed * 100_003 + epoch)

    def made() -> Iterator[Batch]:
        for index in sampler.epoch(epoch):
            modality = torch.from_numpy(images.modality[index])
            crops = torch.from_numpy(images.get(index)).float()
            yield Batch(augment(crops, modality, wanted, random), modality, torch.from_numpy(index))

    return _ahead(made(), wanted.ahead) if wanted.ahead else made()


def _ahead(source: Iterator[Batch], count: int) -> Iterator[Batch]:
    """Yield what ``source`` yields, in its order, while one other thread makes the next ones."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        waiting = deque(pool.submit(next, source, None) for _ in range(count))
        try:
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(next, source, None))
                yield batch
        finally:
            # a reader that stops early waits for one batch, not for all of them
            for future in waiting:
                future.cancel()
