"""The embeddings of a dataset's test images. Knows neither how they were made nor how they are scored."""

from dataclasses import dataclass

from vireid.arrays import Float32Array, Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One vector per test image, in the order of the dataset's splits.

    Attributes:
        query: vectors of ``Dataset.query``, (Nq, D).
        gallery: vectors of ``Dataset.gallery``, (Ng, D).
    """

    query: Float32Array | Float64Array
    gallery: Float32Array | Float64Array
