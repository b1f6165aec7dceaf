"""Exact search beside what bounds it: a plain pass over the bytes it reads, and FAISS's own flat index.

    python benchmarks/search.py --quick --json search.json

Unit vectors drawn at random: for exact search the worst there is, as no neighbour stands out. Everything on one
thread and in CPU seconds, all ways taking turns in every round, a ratio being the median over rounds. A backend
that does not answer as the reference does is not timed.

The plain pass combines all bytes that the sweep of one query has to read (one a number for ``scan`` and ``scan-file``,
four for the others) and does nothing else: what is left above 1 is arithmetic, selection and scoring the best for good.
"""

import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import faiss
import numba
import numpy as np
import typer
from learning.goal import Goal
from threadpoolctl import threadpool_limits

from clients import machine
from index.backend import Backend
from index.backends import BACKENDS, DEFAULT
from index.gallery import Enrolment, Gallery
from index.store import GalleryStore
from vireid.compiled import compiled
from vireid.types import Filter, ItemMeta, Modality

SIZES = ((100_000, 512), (20_000, 2048))
BATCH, TOP = 64, 10
TENTHS, ENROLLED_AT_ONCE = 10, 10_000
BYTES_A_NUMBER = {"scan": 1, "scan-file": 1}
LEAST_ONE_QUERY = {512: 2.0, 2048: 1.5}
LEAST_BATCH = {512: 5.0, 2048: 1.0}
MOST_PASSES, MOST_TENTH, MOST_HALF, MOST_OVERHEAD = 1.7, 0.5, 1.0, 1.1

Action = Callable[[], object]


@compiled()
def combined(words: np.ndarray) -> int:
    """Combine all words, which no processor can do without reading each of them."""
    found = np.uint64(0)
    for at in range(words.size):
        found ^= words[at]
    return int(found)


def unit_rows(count: int, dim: int) -> np.ndarray:
    """Draw vectors."""
    rows = np.random.default_rng(count).standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def turns(rounds: int, ways: dict[str, tuple[Action, int]]) -> dict[str, list[float]]:
    """Time each way in every round, a way being a call and how often a round repeats it; CPU seconds of one call."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for action, _ in ways.values():
        action()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, (action, repeats) in ways.items():
                seconds = []
                for _ in range(repeats):
                    began = time.process_time()
                    action()
                    seconds.append(time.process_time() - began)
                found[name].append(statistics.median(seconds))
    finally:
        gc.enable()
    return found


def check(backend: Backend, vectors: np.ndarray, queries: np.ndarray, allow: np.ndarray) -> None:
    """See that what is timed answers as the reference does."""
    reference = BACKENDS["exact"](vectors.shape[1])
    reference.add(np.arange(len(vectors)), vectors)
    for some in (None, allow):
        found, expected = backend.search(queries, TOP, some), reference.search(queries, TOP, some)
        if not (np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])):
            raise SystemExit("the backend's answers differ from the reference's; nothing was timed")


def measure_backend(name: str, count: int, dim: int, rounds: int) -> tuple[dict[str, float], list[Goal]]:
    """Time a backend beside the plain pass and FAISS's flat index."""
    vectors = unit_rows(count, dim)
    queries = unit_rows(BATCH + 1, dim)[1:]
    backend, peer = BACKENDS[name](dim), faiss.IndexFlatIP(dim)
    backend.add(np.arange(count), vectors)
    peer.add(vectors)
    shuffled = np.random.default_rng(1).permutation(count)
    tenth, half = np.sort(shuffled[: count // 10]), np.sort(shuffled[: count // 2])
    check(backend, vectors, queries[:2], tenth)
    words = np.ones(count * dim * BYTES_A_NUMBER.get(name, 4) // 8, np.uint64)
    one = queries[:1]
    ways: dict[str, tuple[Action, int]] = {
        "plain_pass": (lambda: combined(words), 5),
        "one": (lambda: backend.search(one, TOP), 5),
        "faiss_one": (lambda: peer.search(one, TOP), 3),
        "one_tenth": (lambda: backend.search(one, TOP, tenth), 5),
        "one_half": (lambda: backend.search(one, TOP, half), 5),
        "batch": (lambda: backend.search(queries, TOP), 1),
        "batch_half": (lambda: backend.search(queries, TOP, half), 1),
        "faiss_batch": (lambda: peer.search(queries, TOP), 1),
    }
    seconds = turns(rounds, ways)

    def goal(least: bool, word: str, of: str, by: str, limit: float) -> Goal:
        ratio = statistics.median(a / b for a, b in zip(seconds[of], seconds[by], strict=True))
        detail = f"{statistics.median(seconds[of]) * 1e3:.3g} / {statistics.median(seconds[by]) * 1e3:.3g} ms"
        make = Goal.at_least if least else Goal.at_most
        return make(f"{word}_{count}x{dim}", ratio, limit, detail)

    goals = [
        goal(False, "one_query_over_plain_pass", "one", "plain_pass", MOST_PASSES),
        goal(True, "one_query_faiss_over_own", "faiss_one", "one", LEAST_ONE_QUERY[dim]),
        goal(True, f"{BATCH}_queries_faiss_over_own", "faiss_batch", "batch", LEAST_BATCH[dim]),
        goal(False, "one_query_tenth_passes_over_all", "one_tenth", "one", MOST_TENTH),
        goal(False, f"{BATCH}_queries_half_passes_over_all", "batch_half", "batch", MOST_HALF),
    ]
    return {name: statistics.median(values) * 1e3 for name, values in seconds.items()}, goals


def measure_gallery(name: str, count: int, dim: int, rounds: int) -> tuple[dict[str, float], list[Goal]]:
    """Time a gallery beside its backend alone, and with a filter that lets a tenth pass."""
    vectors, query = unit_rows(count, dim), unit_rows(2, dim)[1:]
    backend = BACKENDS[name](dim)
    backend.add(np.arange(count), vectors)
    with tempfile.TemporaryDirectory() as folder:
        store = GalleryStore(Path(folder), "0" * 64, dim, name)
        gallery = store.create("g", store_images=False)
        for start in range(0, count, ENROLLED_AT_ONCE):
            enrol(gallery, vectors[start : start + ENROLLED_AT_ONCE], start)
        tenth = Filter(cameras=("7",))
        ways: dict[str, tuple[Action, int]] = {
            "backend": (lambda: backend.search(query, TOP), 25),
            "gallery": (lambda: gallery.search(query, TOP), 25),
            "gallery_tenth": (lambda: gallery.search(query, TOP, tenth), 25),
        }
        seconds = turns(rounds, ways)
        store.close()

    def ratio(of: str, by: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[of], seconds[by], strict=True))

    figures = {way: statistics.median(values) * 1e3 for way, values in seconds.items()}
    shown = ", ".join(f"{way} {ms:.3g} ms" for way, ms in figures.items())
    return figures, [
        Goal.at_most(f"gallery_over_backend_{count}x{dim}", ratio("gallery", "backend"), MOST_OVERHEAD, shown),
        Goal.at_most(f"gallery_one_camera_of_ten_over_all_{count}x{dim}", ratio("gallery_tenth", "gallery"), MOST_TENTH),
    ]  # fmt: skip


def enrol(gallery: Gallery, vectors: np.ndarray, start: int) -> None:
    """Store vectors under ten cameras in turn."""
    batch = []
    for at, vector in enumerate(vectors, start):
        meta = ItemMeta(camera=str(at * 7919 // 13 % TENTHS))
        batch.append(Enrolment(f"item/{at}", Modality.VISIBLE, meta, f"{at:064x}", vector))
    gallery.enroll(batch)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Three rounds instead of fifteen.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    backend: Annotated[str, typer.Option(help=f"One of {', '.join(sorted(BACKENDS))}.")] = DEFAULT,
) -> None:
    """Measure exact search against its goals; exit 1 if one is missed."""
    if backend not in BACKENDS:
        raise typer.BadParameter(f"{backend!r} is none of {', '.join(sorted(BACKENDS))}")
    rounds = 3 if quick else 15
    faiss.omp_set_num_threads(1)
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    with threadpool_limits(1):
        for count, dim in SIZES:
            figures[f"{count}x{dim}"], found = measure_backend(backend, count, dim, rounds)
            goals += found
        figures["gallery"], found = measure_gallery(backend, *SIZES[0], rounds)
        goals += found
    document = {
        "benchmark": "search", "backend": backend, "quick": quick, "cpu": machine.describe()["cpu"], "load": os.getloadavg()[0],
        "faiss": faiss.__version__, "numba": numba.__version__, "numpy": np.__version__, "python": platform.python_version(),
        "milliseconds": figures,
        "goals": [
            {"name": goal.name, "ratio": goal.ratio, "goal": goal.goal, "outcome": goal.outcome, "detail": goal.detail}
            for goal in goals
        ],
    }  # fmt: skip
    for word in ("backend", "cpu", "load", "faiss", "numba", "numpy", "python"):
        print(f"{word:8} {document[word]}")
    for name, numbers in figures.items():
        print(f"{name:12} " + ", ".join(f"{way} {ms:.3g}" for way, ms in numbers.items()) + " (CPU ms)")
    for goal in goals:
        print(goal.line())
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise SystemExit(1 if any(goal.outcome == "miss" for goal in goals) else 0)


if __name__ == "__main__":
    typer.run(main)
