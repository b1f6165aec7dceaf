"""Passes of a network in training over images, in order; nothing else computes embeddings.

Where several processes train, each passes over its share, and all get all rows: what is made of them is the same
everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from training import chance, ranks
from training.data.augment import augment
from training.data.images import Images
from training.data.samplers import Draw, sampler
from training.models.network import Embedded, Network
from training.settings import RunSettings
from vireid import progress
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

Compute = Callable[[Embedded], Tensor]

PASSED = 1 << 31  # number of the first batch of a labelling pass: no epoch trains with as many


def extract(network: Network, images: Images, *, batch_size: int = 64, flip: bool = False) -> Float32Array:
    """Embed every image, in order; the network's mode is restored.

    Args:
        network: in any mode.
        images: of a split.
        batch_size: images at once.
        flip: average with the mirrored image's embedding.

    Returns:
        Unit rows, (N, D).
    """
    rows = [np.empty((0, network.dim), np.float32)]
    mine = ranks.share(np.arange(len(images)))
    with _mode(network, training=False), _bar("embedding", len(mine)) as advance:
        for index in _parts(mine, batch_size):
            crops, modality = _load(network, images, index)
            made = network(crops, modality)
            if flip:
                made = torch.nn.functional.normalize(made + network(crops.flip(2), modality))
            rows.append(made.float().cpu().numpy())
            advance(len(index))
    return ranks.joined(np.concatenate(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a method may see of the training images while it makes labels.

    Attributes:
        network: as it is now.
        images: of the training split.
        settings: of the run.
        epoch: from 0.
        batch_size: images at once.
    """

    network: Network
    images: Images
    settings: RunSettings
    epoch: int
    batch_size: int = field(default=64)

    def embeddings(self) -> Float32Array:
        """Embed every training image without augmentation, unit rows, (N, D)."""
        return extract(self.network, self.images, batch_size=self.batch_size)

    def rows(self, compute: Compute, index: Int64Array | None = None) -> Float32Array:
        """Compute something of images without augmentation, in evaluation mode.

        Args:
            compute: of a batch's features, a tensor of B rows.
            index: of which images, in this order; None for all.

        Returns:
            Its rows, in order.
        """
        index = np.arange(len(self.images)) if index is None else index
        if len(index) < ranks.count():
            raise TrainingError(f"{len(index)} images were asked for; expected one for each process at least")
        made, mine = [], ranks.share(index)
        with _mode(self.network, training=False), _bar("looking", len(mine)) as advance:
            for part in _parts(mine, self.batch_size):
                crops, modality = _load(self.network, self.images, part)
                made.append(compute(self.network.features(crops, modality)).float().cpu().numpy())
                advance(len(part))
        return ranks.joined(np.concatenate(made))

    def batches(self, draw: Draw) -> Sequence[Int64Array]:
        """Tell which images the epoch's batches will hold, if they are drawn so; all processes' shares of them."""
        return list(sampler(draw, self.settings).epoch(self.epoch))

    def rows_in_training(self, compute: Compute, batches: Sequence[Int64Array]) -> Float32Array:
        """Compute something of augmented images in training mode: running statistics change.

        Only to mimic what was published; ``rows`` changes nothing.

        Args:
            compute: of a batch's features, a tensor of B rows.
            batches: the images of each batch; batch norm sees one at a time.

        Returns:
            Their rows, in order.
        """
        made = []
        with _mode(self.network, training=True), _bar("looking", len(batches)) as advance:
            for number, part in enumerate(batches):
                random = chance.of_rows(self.settings.seed, self.epoch, PASSED + number, range(len(part)))
                modality = torch.from_numpy(self.images.modality[part])
                crops = torch.from_numpy(self.images.get(part)).float()
                varied = augment(crops, modality, self.settings.data, random)
                device = next(self.network.parameters()).device
                seen = self.network.features(varied.to(device), modality.to(device))
                made.append(compute(seen).float().cpu().numpy())
                advance(1)
        return ranks.of_first(np.concatenate(made))


def _bar(what: str, total: int) -> AbstractContextManager[progress.Advance]:
    """Show progress in the first process only."""
    return progress.bar(what, total=total) if ranks.place() == 0 else nullcontext(lambda _steps: None)


def _parts(index: Int64Array, size: int) -> Iterator[Int64Array]:
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _load(network: Network, images: Images, index: Int64Array) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    crops = torch.from_numpy(images.get(index)).to(device)
    return crops, torch.from_numpy(images.modality[index]).to(device)


@contextmanager
def _mode(network: Network, *, training: bool) -> Iterator[None]:
    """Run without gradients in a mode, then go back to the mode there was."""
    before = network.training
    network.train(training)
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(before)
