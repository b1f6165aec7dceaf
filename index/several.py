"""Several queries that show one person, answered as one. Knows no index."""

import numpy as np

from vireid.arrays import Float32Array, Int64Array


def best_of_any(scores: Float32Array, ids: Int64Array, k: int) -> tuple[Float32Array, Int64Array]:
    """Keep of each id its best score with any query, and of these the k best.

    Who is among the k best so is among the k best of one query.

    Args:
        scores: of the k best of each query, (Q, n).
        ids: (Q, n).
        k: at least 1.

    Returns:
        One answer, (1, m) each, in the order of all answers.
    """
    order = np.lexsort((ids.ravel(), -scores.ravel()))
    _, first = np.unique(ids.ravel()[order], return_index=True)
    best = order[np.sort(first)][:k]
    return scores.ravel()[best][None], ids.ravel()[best][None]
