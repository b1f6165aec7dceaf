"""The embeddings of a split by a network in training; nothing else computes them."""

import numpy as np
import torch

from training.data.images import Images
from training.models.two_stream import TwoStream
from vireid import progress
from vireid.arrays import Float32Array


def extract(network: TwoStream, images: Images, *, batch_size: int = 64, flip: bool = False) -> Float32Array:
    """Embed every image, in order; the network's mode is restored.

    Args:
        network: in any mode.
        images: of a split.
        batch_size: images at once.
        flip: average with the mirrored image's embedding.

    Returns:
        Unit rows, (N, D).
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    rows = []
    with torch.inference_mode(), progress.bar("embedding", total=len(images)) as advance:
        for start in range(0, len(images), batch_size):
            index = np.arange(start, min(start + batch_size, len(images)))
            crops = torch.from_numpy(images.get(index)).to(device)
            modality = torch.from_numpy(images.modality[index]).to(device)
            made = network(crops, modality)
            if flip:
                made = torch.nn.functional.normalize(made + network(crops.flip(2), modality))
            rows.append(made.float().cpu().numpy())
            advance(len(index))
    network.train(was_training)
    return np.concatenate(rows)
