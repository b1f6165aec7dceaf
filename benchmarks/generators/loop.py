"""The loop over queries that evaluation scripts of visible-infrared re-identification share, in our own words.

Not fast, and not meant to be: sort everything, then, for each query in Python, drop what its camera must not
see, list the persons in their order, and walk over every place of the gallery to sum the precision.
"""

import numpy as np

from vireid.evaluation.metrics import Labels


def sysu_loop(
    distance: np.ndarray, query: Labels, gallery: Labels, ranks: int
) -> tuple[np.ndarray, float, float]:
    """Count the CMC by persons up to a rank, mAP and mINP under SYSU-MM01's rule."""
    nearest = np.argsort(distance, axis=1)
    person = gallery.person[nearest]
    same = (person == query.person[:, np.newaxis]).astype(np.int32)
    curves, precisions, penalties = [], [], []
    for q in range(len(query)):
        keep = ~((query.camera[q] == 3) & (gallery.camera[nearest[q]] == 2))
        match = same[q][keep]
        if not match.any():
            continue
        left = person[q][keep]
        firsts = sorted(np.unique(left, return_index=True)[1])
        listed = np.asarray([left[place] for place in firsts])
        curve = (listed == query.person[q]).astype(np.int32).cumsum()
        curves.append(np.pad(curve, (0, max(0, ranks - len(curve))), mode="edge")[:ranks])
        found = match.cumsum()
        last = np.flatnonzero(match).max()
        penalties.append(found[last] / (last + 1.0))
        precision = [count / (place + 1.0) for place, count in enumerate(found)]
        precisions.append((np.asarray(precision) * match).sum() / match.sum())
    return np.mean(curves, axis=0), float(np.mean(precisions)), float(np.mean(penalties))
