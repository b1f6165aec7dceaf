"""A dataset's images through an engine, in the order of its splits. Knows no labels and no protocol."""

import numpy as np

from vireid import progress
from vireid.arrays import Float32Array
from vireid.datasets import pixels
from vireid.datasets.split import Dataset, Split
from vireid.engines.base import Engine
from vireid.evaluation.features import Features
from vireid.images.preprocess import Preprocess


def extract(engine: Engine, preprocess: Preprocess, dataset: Dataset, batch_size: int = 32) -> Features:
    """Embed the query and gallery images of a dataset.

    Args:
        engine: the model.
        preprocess: what its bundle says of the input.
        dataset: where the images are.
        batch_size: images given to the engine at once.

    Raises:
        DatasetError: an image is missing or cannot be read.
        EngineError: the model could not be run.
    """
    query = embed(engine, preprocess, dataset.query, batch_size)
    if dataset.gallery.samples == dataset.query.samples:  # a folder of one modality
        return Features(query, query)
    return Features(query, embed(engine, preprocess, dataset.gallery, batch_size))


def embed(engine: Engine, preprocess: Preprocess, split: Split, batch_size: int = 32) -> Float32Array:
    """Embed a split: unit rows in the split's order, (N, D).

    Raises:
        DatasetError: an image is missing or cannot be read.
        EngineError: the model could not be run.
    """
    vectors = np.empty((len(split), engine.dim), dtype=np.float32)
    modalities = split.modalities
    with progress.bar(f"embedding {split.name}", total=len(split)) as advance:
        for begin in range(0, len(split), batch_size):
            rows = slice(begin, begin + batch_size)
            images = np.stack([preprocess.apply(pixels.read(s.path)) for s in split.samples[rows]])
            vectors[rows] = engine.embed(images, modalities[rows])
            advance(len(images))
    return vectors
