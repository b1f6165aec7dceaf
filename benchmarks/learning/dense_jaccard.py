"""The k-reciprocal Jaccard distance as published scripts compute it, in our own words: tables of N x N throughout.

Neighbours come from faiss; each image's encoding, their averages, the inverted index and the distances are made
row by row with NumPy, as SpCL and those after it do (Zhong et al., CVPR 2017; Ge et al., NeurIPS 2020).
"""

import faiss
import numpy as np


def dense_jaccard(features: np.ndarray, k1: int = 30, k2: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of unit rows, float32, (N, N), and the neighbours they come from, (N, k1)."""
    count = len(features)
    index = faiss.IndexFlatL2(features.shape[1])
    index.add(features)
    _, ranking = index.search(features, k1)
    far = [_reciprocal(ranking, i, k1) for i in range(count)]
    near = [_reciprocal(ranking, i, int(np.around(k1 / 2)) + 1) for i in range(count)]
    encoded = np.zeros((count, count), dtype=np.float32)
    for i in range(count):
        expanded = far[i]
        for candidate in far[i]:
            others = near[candidate]
            if len(np.intersect1d(others, far[i])) > 2 / 3 * len(others):
                expanded = np.append(expanded, others)
        expanded = np.unique(expanded)
        power = np.exp(-(2 - 2 * (features[expanded] @ features[i])))
        encoded[i, expanded] = power / power.sum()
    if k2 > 1:
        averaged = np.zeros_like(encoded)
        for i in range(count):
            averaged[i] = encoded[ranking[i, :k2]].mean(axis=0)
        encoded = averaged
    who = [np.nonzero(encoded[:, k])[0] for k in range(count)]
    distance = np.zeros((count, count), dtype=np.float32)
    for i in range(count):
        least = np.zeros(count, dtype=np.float32)
        for k in np.nonzero(encoded[i])[0]:
            least[who[k]] += np.minimum(encoded[i, k], encoded[who[k], k])
        distance[i] = 1 - least / (2 - least)
    distance[distance < 0] = 0
    return distance, ranking


def _reciprocal(ranking: np.ndarray, i: int, length: int) -> np.ndarray:
    forward = ranking[i, :length]
    backward = ranking[forward, :length]
    return forward[np.nonzero(backward == i)[0]]
