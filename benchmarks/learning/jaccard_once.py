"""One measurement of Jaccard distances, in a process of its own: ``jaccard_once.py sparse|dense COUNT [FOLDER]``.

It warms up on a small problem (our loops are compiled then), is held to one thread, and tells CPU seconds and its
peak memory as JSON. The dense way leaves its table and its neighbours in the folder; the sparse one is then compared
with it on those neighbours, as single precision ranks nearly equal ones either way.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

DIM, PER_PERSON = 256, 30
NOISE = (0.5, 4.0)  # of an image, relative to its person: from plain to hopeless
RADIUS, K1, K2 = 0.62, 30, 6
CLOSE = 1e-5


def features(count: int) -> np.ndarray:
    """Draw unit rows of people seen about thirty times each, (N, 256)."""
    random = np.random.default_rng(0)
    people = random.standard_normal((max(count // PER_PERSON, 1), DIM), dtype=np.float32)
    rows = people[random.integers(0, len(people), count)]
    noise = random.uniform(*NOISE, (count, 1)).astype(np.float32)
    rows += noise * random.standard_normal((count, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _sparse(rows: np.ndarray, ranking: np.ndarray | None = None) -> Any:
    from training.labels.jaccard import Neighbourhood, encode, radius_graph

    return radius_graph(encode(rows, Neighbourhood(K1, K2), ranking=ranking), RADIUS).table


def _dense(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import faiss
    from dense_jaccard import dense_jaccard

    faiss.omp_set_num_threads(1)
    return dense_jaccard(rows, K1, K2)


def _differ(graph: Any, table: np.ndarray) -> float:
    """Return the share of pairs within the radius, of either, whose distances are not close."""
    held = np.zeros(table.shape, dtype=bool)
    rows = np.repeat(np.arange(len(table)), np.diff(graph.indptr))
    held[rows, graph.indices] = True
    apart = np.abs(graph.data - table[rows, graph.indices]) > CLOSE
    missed = (table < RADIUS - CLOSE) & ~held
    return float((apart.sum() + missed.sum()) / (graph.nnz + missed.sum()))


def _peak_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def _run(way: str, count: int, folder: str) -> dict[str, float]:
    """Measure one way in this process; the peer leaves its table in the folder, ours is compared with it."""
    make: Callable[[np.ndarray], Any] = {"sparse": _sparse, "dense": _dense}[way]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    make(features(500))
    rows = features(count)
    began = time.process_time()
    made = make(rows)
    figures = {"cpu_s": time.process_time() - began, "peak_gb": _peak_gb()}
    if way == "dense":
        for name, table in zip(("distances", "neighbours"), made, strict=True):
            np.save(Path(folder) / f"{name}.npy", table)
        return figures
    figures["pairs"] = (made.nnz - count) / 2
    if folder:
        again = _sparse(rows, np.load(Path(folder) / "neighbours.npy"))
        figures["differ"] = _differ(again, np.load(Path(folder) / "distances.npy", mmap_mode="r"))
    return figures


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:]))))
