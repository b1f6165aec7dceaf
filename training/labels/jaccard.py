"""The k-reciprocal Jaccard distance, sparse from end to end: N x N numbers never exist at once.

Images are encoded by whom they share neighbourhoods with (``encode``); two encodings are as far apart as their
weights fail to overlap (``distances`` for a few images, ``radius_graph`` for many: only the pairs that are close;
``similarities``: only the pairs that overlap).
The ranking of neighbours may be given, for whoever draws neighbours in another way. Knows no clusters.

Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017, equations 2 to 10; with the
constants that SpCL (Ge et al., NeurIPS 2020) and those after it run with.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.labels.neighbours import neighbours, unit
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

if TYPE_CHECKING:
    from training.labels.jaccard_loops import Rows


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """How far an image looks around.

    Attributes:
        k1: neighbours an image has, itself included.
        k2: of those, the ones its encoding is averaged over, itself included; 1 for no averaging.
        original: count k1 without the image itself, as the paper's own code does; its successors, sliced
            alike from lists that are one shorter, count it.
    """

    k1: int = 30
    k2: int = 6
    original: bool = False

    def __post_init__(self) -> None:
        """Raises TrainingError unless 1 <= k2 <= k1."""
        if not 1 <= self.k2 <= self.k1:
            raise TrainingError(f"k1 is {self.k1} and k2 is {self.k2}; expected 1 <= k2 <= k1")

    @property
    def entries(self) -> int:
        """Length of a list of neighbours, the image itself included."""
        return self.k1 + 1 if self.original else self.k1

    @property
    def half(self) -> int:
        """Length of the short list that expansion uses; halves are rounded to even, as NumPy rounds."""
        return round(self.k1 / 2) + 1


def encode(
    features: Float32Array, around: Neighbourhood = Neighbourhood(), *, ranking: Int64Array | None = None
) -> Any:
    """Encode each image by its expanded k-reciprocal neighbours.

    Args:
        features: one row an image, (N, D).
        around: how far an image looks.
        ranking: neighbours of each image, nearest first, itself first of all, (N, at least ``around.entries`` or
            N); found here where None.

    Returns:
        A SciPy CSR array of float32 whose rows sum to 1, (N, N).

    Raises:
        TrainingError: features that have no cosine, or a ranking that does not fit them.
    """
    from scipy.sparse import csr_array

    from training.labels import jaccard_loops as loops  # imports numba, which nothing else here needs

    rows = unit(features)
    count = len(rows)
    wanted = min(around.entries, count)
    if ranking is None:
        ranking = neighbours(rows, wanted)
    if ranking.ndim != 2 or len(ranking) != count or ranking.shape[1] < wanted:
        raise TrainingError(f"the ranking has shape {ranking.shape}; expected ({count}, {wanted}) or wider")
    if (ranking[:, 0] != np.arange(count)).any():
        raise TrainingError("the ranking does not begin with each image itself; put it first")
    near = np.ascontiguousarray(ranking[:, :wanted], dtype=np.int32)
    made = loops.encode(rows, near, min(around.half, wanted))
    if around.k2 > 1:
        made = loops.average(made, near[:, : around.k2])
    return csr_array((made.weight, made.column, made.start), shape=(count, count))


def distances(encoded: Any) -> Float32Array:
    """Return all distances between a few encoded images, 0 to 1, (N, N)."""
    from training.labels import jaccard_loops as loops

    return loops.dense(*_both_ways(encoded))


@dataclass(frozen=True, slots=True, eq=False)
class RadiusGraph:
    """The distances that are at most a radius.

    Attributes:
        table: symmetric SciPy CSR array of float32 as scikit-learn takes it (metric ``precomputed``); distances of
            0 are held, the diagonal among them, (N, N).
        radius: the greatest distance it may hold.
    """

    table: Any
    radius: float


def radius_graph(encoded: Any, radius: float) -> RadiusGraph:
    """Return the distances between encoded images that are at most a radius, itself included.

    Raises:
        TrainingError: a radius below 0.
    """
    from scipy.sparse import coo_array, csr_array

    from training.labels import jaccard_loops as loops

    if not radius >= 0:
        raise TrainingError(f"radius {radius}; expected a distance from 0 to 1")
    count = encoded.shape[0]
    one, other, distance = loops.close_pairs(*_both_ways(encoded), radius)
    diagonal = np.arange(count, dtype=np.int32)
    row = np.concatenate([one, other, diagonal])
    column = np.concatenate([other, one, diagonal])
    value = np.concatenate([distance, distance, np.zeros(count, dtype=np.float32)])
    table = csr_array(coo_array((value, (row, column)), shape=(count, count)))
    table.sort_indices()
    return RadiusGraph(table, radius)


def similarities(encoded: Any) -> Any:
    """Return one minus the distance of all pairs of encoded images that overlap; of all others it is 0.

    Returns:
        A symmetric SciPy CSR array of float32 with a diagonal of ones, (N, N).
    """
    from scipy.sparse import csr_array

    from training.labels import jaccard_loops as loops

    count = encoded.shape[0]
    made = loops.overlapping(*_both_ways(encoded))
    return csr_array((made.weight, made.column, made.start), shape=(count, count))


def _both_ways(encoded: Any) -> tuple["Rows", "Rows"]:
    """Return an encoding by rows and by columns, as the loops take it."""
    from training.labels.jaccard_loops import Rows

    columns = encoded.tocsc()
    return (
        Rows(encoded.indptr.astype(np.int64), encoded.indices.astype(np.int32), encoded.data),
        Rows(columns.indptr.astype(np.int64), columns.indices.astype(np.int32), columns.data),
    )
