"""The nearest neighbours of every row among all rows, exactly, without the matrix of all similarities.

Similarities are made block by block on and above the diagonal only, as a block serves its rows and its columns.
Single precision finds a few more candidates than are asked for; double precision ranks those, and equal ones come
by index. Knows no persons and no modalities.
"""

import numpy as np

from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

BLOCK = 1024
SPARE = 8  # candidates beyond those asked for, so that rounding in single precision pushes none out


def unit(features: Float32Array) -> Float32Array:
    """Return the rows at length one, (N, D).

    Raises:
        TrainingError: not a table of at least one row, or a row that is zero or not finite.
    """
    table = np.ascontiguousarray(features, dtype=np.float32)
    if table.ndim != 2 or not table.size:
        raise TrainingError(
            f"features have shape {np.shape(features)}; expected (images, dimensions), neither of them 0"
        )
    length = np.sqrt(np.einsum("nd,nd->n", table, table))
    wrong = np.flatnonzero(~np.isfinite(length) | (length == 0))
    if len(wrong):
        raise TrainingError(
            f"{len(wrong)} of {len(table)} feature rows are zero or not finite, the first is row {wrong[0]}; "
            f"look at the losses of the last epoch, or lower the learning rate"
        )
    made: Float32Array = table / length[:, None]
    return made


def neighbours(features: Float32Array, k: int, *, block: int = BLOCK) -> Int64Array:
    """Return the nearest rows of each row: itself, then the others by descending cosine, equal ones by index.

    Args:
        features: one row an image, of any length, (N, D).
        k: how many, the row itself included; all there are where N is smaller.
        block: rows at once; working memory is its square.

    Returns:
        Row numbers, (N, min(k, N)).

    Raises:
        TrainingError: k or a block below 1, or features that have no cosine.
    """
    from training.labels import neighbour_loops as loops  # imports numba, which nothing else here needs

    if k < 1 or block < 1:
        raise TrainingError(
            f"{k} neighbours by blocks of {block} were asked for; expected at least 1 of each"
        )
    rows = unit(features)
    count = len(rows)
    k = min(k, count)
    held = min(k - 1 + SPARE, count - 1)
    found = np.full((count, held), -1, dtype=np.int32)
    score = np.full((count, held), -np.inf, dtype=np.float32)
    if held:
        for top in range(0, count, block):
            for left in range(top, count, block):
                tile = rows[top : top + block] @ rows[left : left + block].T
                loops.offer(tile, top, left, found, score)
    return loops.ranked(rows, found, k)


def nearest_among(features: Float32Array, others: Float32Array, k: int, *, block: int = BLOCK) -> Int64Array:
    """Return the nearest of other rows to each row, by descending cosine, equal ones by index.

    Args:
        features: of any length, (N, D).
        others: among which to look, (M, D).
        k: how many; all there are where M is smaller.
        block: rows at once on either side.

    Returns:
        Numbers of the other rows, (N, min(k, M)).

    Raises:
        TrainingError: k or a block below 1, or features that have no cosine.
    """
    from training.labels import neighbour_loops as loops  # imports numba, which nothing else here needs

    if k < 1 or block < 1:
        raise TrainingError(
            f"{k} neighbours by blocks of {block} were asked for; expected at least 1 of each"
        )
    asking, asked = unit(features), unit(others)
    k = min(k, len(asked))
    held = min(k + SPARE, len(asked))
    found = np.full((len(asking), held), -1, dtype=np.int32)
    score = np.full((len(asking), held), -np.inf, dtype=np.float32)
    for top in range(0, len(asking), block):
        for left in range(0, len(asked), block):
            tile = asking[top : top + block] @ asked[left : left + block].T
            loops.offer_columns(tile, top, left, found, score)
    return loops.ranked_among(asking, asked, found, k)
