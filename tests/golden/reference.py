"""A slow evaluator to hold the product's against: it sorts each query's gallery and reads off what is there."""

import numpy as np


def score(
    similarity: np.ndarray,
    query: tuple[np.ndarray, np.ndarray],
    gallery: tuple[np.ndarray, np.ndarray],
    rule: str,
    level: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score each query on its own.

    Args:
        similarity: the larger the more alike, (Q, G).
        query: persons and cameras of the rows.
        gallery: persons and cameras of the columns.
        rule: sysu, market or none.
        level: identity or image.

    Returns:
        Rank of the first match, average precision and inverse negative penalty, zeros for queries without a
        match, (Q,) each.
    """
    first, ap, inp = (
        np.zeros(len(similarity), dtype=np.int64),
        np.zeros(len(similarity)),
        np.zeros(len(similarity)),
    )
    for q, (row, own, camera) in enumerate(zip(similarity, *query, strict=True)):
        order = np.argsort(-row, kind="stable")
        person, place = gallery[0][order], gallery[1][order]
        hidden = np.zeros(len(order), dtype=bool)
        if rule == "sysu" and camera == 3:
            hidden = place == 2
        elif rule == "market":
            hidden = (person == own) & (place == camera)
        left = person[~hidden]
        ranks = np.flatnonzero(left == own) + 1
        if own == -1 or not len(ranks):
            continue
        first[q] = len(np.unique(left[: ranks[0]])) if level == "identity" else ranks[0]
        ap[q] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        inp[q] = len(ranks) / ranks[-1]
    return first, ap, inp


def mean(
    scored: tuple[np.ndarray, np.ndarray, np.ndarray], ranks: tuple[int, ...]
) -> tuple[int, list[int], float, float]:
    """Return the number of valid queries, hits at some ranks, mAP and mINP."""
    first, ap, inp = scored
    valid = first > 0
    hits = [int((first[valid] <= rank).sum()) for rank in ranks]
    return int(valid.sum()), hits, float(ap[valid].mean()), float(inp[valid].mean())
