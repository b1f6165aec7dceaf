"""How many of the true neighbours each backend finds in a gallery, and how fast: measured on the gallery's own vectors.

A vector that asks finds itself first, which proves nothing and is not counted. Knows no files.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from index.backend import Backend
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import InvalidRequest

REFERENCE = "scan"
BATCH = 64
LEVELS = (1, 10, 100)


@dataclass(frozen=True, slots=True)
class Measured:
    """One backend over one gallery.

    Attributes:
        name: of the backend.
        build_s: seconds to take all vectors in.
        p50_ms: of a search for ten, one query at a time.
        p95_ms: the same.
        batch_ms: for each of 64 queries that come together.
        recall: found of the true k nearest, by k, as shares.
    """

    name: str
    build_s: float
    p50_ms: float
    p95_ms: float
    batch_ms: float
    recall: dict[int, float]


def measure(
    makers: Mapping[str, Callable[[int], Backend]], vectors: Float32Array, queries: int = 200
) -> Iterator[Measured]:
    """Measure backends one after the other.

    Args:
        makers: by name.
        vectors: unit rows, (N, D).
        queries: how many of them ask, drawn evenly; all if there are fewer.

    Raises:
        InvalidRequest: fewer than two vectors.
    """
    count = len(vectors)
    if count < 2:
        raise InvalidRequest(f"the gallery holds {count} items; recall needs at least 2", field="gallery")
    asking = np.sort(np.random.default_rng(0).choice(count, min(queries, count), replace=False))
    probes = np.ascontiguousarray(vectors[asking])
    levels = sorted({min(k, count - 1) for k in LEVELS})
    true = {k: _neighbours(_filled(makers[REFERENCE], vectors)[0], probes, asking, k) for k in levels}
    for name, make in makers.items():
        backend, build_s = _filled(make, vectors)
        recall = {k: _share(_neighbours(backend, probes, asking, k), true[k]) for k in levels}
        alone = [_timed(backend, probes[at : at + 1]) for at in range(len(probes))]
        together = [_timed(backend, probes[at : at + BATCH]) for at in range(0, len(probes), BATCH)]
        p50, p95 = np.percentile(alone, [50, 95]) * 1e3
        yield Measured(name, build_s, float(p50), float(p95), sum(together) / len(probes) * 1e3, recall)


def table(found: Sequence[Measured]) -> list[str]:
    """Say what was measured, line by line."""
    levels = sorted({k for one in found for k in one.recall})
    head = f"{'backend':16}{'build s':>9}{'p50 ms':>9}{'p95 ms':>9}{'batch ms':>10}"
    lines = [head + "".join(f"{f'recall@{k}':>12}" for k in levels)]
    for one in found:
        shares = "".join(f"{one.recall[k]:>12.4f}" for k in levels)
        lines.append(
            f"{one.name:16}{one.build_s:>9.1f}{one.p50_ms:>9.2f}{one.p95_ms:>9.2f}{one.batch_ms:>10.3f}{shares}"
        )
    return lines


def _filled(make: Callable[[int], Backend], vectors: Float32Array) -> tuple[Backend, float]:
    backend = make(vectors.shape[1])
    began = time.perf_counter()
    backend.add(np.arange(len(vectors)), vectors)
    return backend, time.perf_counter() - began


def _neighbours(backend: Backend, probes: Float32Array, asking: Int64Array, k: int) -> list[set[int]]:
    """Find the k nearest of each probe without itself."""
    _, ids = backend.search(probes, k + 1)
    found = []
    for own, row in zip(asking.tolist(), ids.tolist(), strict=True):
        others = [one for one in row if one != own]
        found.append(set(others[:k]))
    return found


def _share(found: list[set[int]], true: list[set[int]]) -> float:
    return float(np.mean([len(a & b) / len(b) for a, b in zip(found, true, strict=True)]))


def _timed(backend: Backend, probes: Float32Array) -> float:
    began = time.perf_counter()
    backend.search(probes, 10)
    return time.perf_counter() - began
