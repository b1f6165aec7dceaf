"""A dataset's images through an engine, in the order of its splits. Knows no labels and no protocol."""

import numpy as np

from vireid import progress
from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.datasets import pixels
from vireid.datasets.split import Dataset, Split
from vireid.engines.base import Engine
from vireid.errors import EngineError
from vireid.evaluation.features import Features
from vireid.images.preprocess import Preprocess


def extract(
    engine: Engine, preprocess: Preprocess, dataset: Dataset, batch_size: int = 32, flip: bool = False
) -> Features:
    """Embed the query and gallery images of a dataset.

    Args:
        engine: the model.
        preprocess: what its bundle says of the input.
        dataset: where the images are.
        batch_size: images given to the engine at once.
        flip: average each feature with that of the mirrored image.

    Raises:
        DatasetError: an image is missing or cannot be read.
        EngineError: the model could not be run.
    """
    query = embed(engine, preprocess, dataset.query, batch_size, flip)
    if dataset.gallery.samples == dataset.query.samples:  # a folder of one modality
        return Features(query, query)
    return Features(query, embed(engine, preprocess, dataset.gallery, batch_size, flip))


def embed(
    engine: Engine, preprocess: Preprocess, split: Split, batch_size: int = 32, flip: bool = False
) -> Float32Array:
    """Embed a split: unit rows in the split's order, (N, D).

    Raises:
        DatasetError: an image is missing or cannot be read.
        EngineError: the model could not be run, or an image and its mirror image cancel each other out.
    """
    vectors = np.empty((len(split), engine.dim), dtype=np.float32)
    modalities = split.modalities
    with progress.bar(f"embedding {split.name}", total=len(split)) as advance:
        for begin in range(0, len(split), batch_size):
            rows = slice(begin, begin + batch_size)
            images = np.stack([preprocess.apply(pixels.read(s.path)) for s in split.samples[rows]])
            found = engine.embed(images, modalities[rows])
            vectors[rows] = _averaged(engine, images, modalities[rows], found) if flip else found
            advance(len(images))
    return vectors


def _averaged(engine: Engine, images: UInt8Array, modality: Int64Array, found: Float32Array) -> Float32Array:
    """Average unit rows with those of the mirrored images, and make them unit rows again."""
    mirrored = engine.embed(np.ascontiguousarray(images[:, :, ::-1]), modality)
    mean = (found.astype(np.float64) + mirrored) / 2
    norm = np.linalg.norm(mean, axis=1, keepdims=True)
    if not (norm > 0).all():
        raise EngineError(
            "an image and its mirror image have opposite features, so their average says nothing; "
            "evaluate without flip averaging"
        )
    unit: Float32Array = (mean / norm).astype(np.float32)
    return unit
