"""A gallery's speed: enrolment, opening, search through the gallery beside the bare index, filters, removal.

    python benchmarks/gallery.py --quick --json gallery.json

Unit vectors drawn at random (exact search takes as long on any); pictures of 3 kB stand for crops. One thread.
"""

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import faiss
import numpy as np
import typer

from index.backend import Backend
from index.backends import BACKENDS, DEFAULT
from index.gallery import Gallery
from index.records import Enrolment
from index.store import FILE, GalleryStore
from vireid import progress
from vireid.types import Filter, ItemMeta, Modality

SPACE = "0" * 64
BATCH = 1000
PICTURE_BYTES = 3000
ROUNDS = 30


def main(
    quick: Annotated[bool, typer.Option("--quick", help="10,000 items instead of 100,000.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    items: Annotated[int, typer.Option(help="How many items; 0 for the usual.")] = 0,
    dim: Annotated[int, typer.Option(help="Numbers of an embedding.")] = 512,
) -> None:
    """Measure one gallery."""
    items = items or (10_000 if quick else 100_000)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((items, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    figures: dict[str, float] = {"items": items, "dim": dim}
    with tempfile.TemporaryDirectory() as folder:
        store = GalleryStore(Path(folder), SPACE, dim)
        gallery = store.create("g")
        figures["enrolled_per_s"] = items / enrol(gallery, vectors)
        figures["one_durable_item_ms"] = median_ms(singles(gallery, vectors, 20), 20)
        gallery.remove(ids=[f"single-{n}" for n in range(21)])
        figures["file_mb"] = (
            sum(p.stat().st_size for p in (Path(folder) / "galleries/g").glob(FILE + "*")) / 1e6
        )
        store.close()
        began = time.perf_counter()
        store = GalleryStore(Path(folder), SPACE, dim)
        figures["open_s"] = time.perf_counter() - began
        measure_search(store.get("g"), vectors, figures)
        figures["remove_one_ms"] = median_ms(removals(store.get("g"), 11), 10)
        began = time.perf_counter()
        removed = store.get("g").remove(filter=Filter(persons=("7",))).items
        figures["remove_by_filter_items"] = removed
        figures["remove_by_filter_ms"] = 1e3 * (time.perf_counter() - began)
        store.close()
    for name, value in figures.items():
        print(f"{name:32} {value:12,.2f}")
    document = {"machine": machine(), "figures": figures}
    print(document["machine"])
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")


def enrol(gallery: Gallery, vectors: np.ndarray) -> float:
    """Enrol all in batches; return the seconds spent in the gallery."""
    seconds = 0.0
    with progress.bar("enrolling", total=len(vectors)) as advance:
        for start in range(0, len(vectors), BATCH):
            batch = [item(f"item-{n}", n, vectors[n]) for n in range(start, min(start + BATCH, len(vectors)))]
            began = time.perf_counter()
            gallery.enroll(batch)
            seconds += time.perf_counter() - began
            advance(len(batch))
    return seconds


def item(item_id: str, n: int, vector: np.ndarray) -> Enrolment:
    """Make an item of one of six cameras and 997 people."""
    image = n.to_bytes(8, "big") * (PICTURE_BYTES // 8)
    meta = ItemMeta(person=str(n % 997), camera=str(n % 6), attributes={"third": str(n % 3)})
    return Enrolment(
        item_id,
        Modality(n % 2),
        meta,
        hashlib.sha256(image).hexdigest(),
        vector,
        image,
        image[: PICTURE_BYTES // 2],
    )


def singles(gallery: Gallery, vectors: np.ndarray, _: int) -> Callable[[], object]:
    """Enrol one item at a time."""
    numbers = iter(range(len(vectors)))

    def one() -> object:
        n = next(numbers)
        return gallery.enroll([item(f"single-{n}", n, vectors[n])])

    return one


def removals(gallery: Gallery, _: int) -> Callable[[], object]:
    """Remove one item at a time."""
    numbers = iter(range(100))
    return lambda: gallery.remove(ids=[f"item-{next(numbers)}"])


def measure_search(gallery: Gallery, vectors: np.ndarray, figures: dict[str, float]) -> None:
    """Time one query and many, with and without filters, beside the bare index."""
    bare, backend = faiss.IndexFlatIP(vectors.shape[1]), BACKENDS[DEFAULT](vectors.shape[1])
    bare.add(vectors)
    backend.add(np.arange(len(vectors)), vectors)
    queries = perturbed(vectors[:64])
    one = queries[:1]
    faiss.omp_set_num_threads(1)
    figures["bare_faiss_ms"] = median_ms(lambda: bare.search(one, 10), ROUNDS)
    figures["backend_ms"] = median_ms(lambda: backend.search(one, 10), ROUNDS)
    figures["gallery_ms"] = median_ms(lambda: gallery.search(one, 10), ROUNDS)
    figures["gallery_k1000_ms"] = median_ms(lambda: gallery.search(one, 1000), ROUNDS)
    filters = {
        "camera_in": Filter(cameras=("1",)),
        "camera_not_in": Filter(exclude_cameras=("1",)),
        "person_in": Filter(persons=("7",)),
        "attribute": Filter(attributes={"third": "1"}),
        "exclude_item": Filter(exclude_items=("item-5",)),
        "camera_modality_attribute": Filter(
            cameras=("1", "2"), modalities=(Modality.VISIBLE,), attributes={"third": "1"}
        ),
    }
    for name, where in filters.items():
        figures[f"{name}_ms"] = median_ms(lambda where=where: gallery.search(one, 10, where), ROUNDS)
    figures["bare_faiss_64_queries_per_s"] = 64e3 / median_ms(lambda: bare.search(queries, 10), 3)
    figures["gallery_64_queries_per_s"] = 64e3 / median_ms(lambda: gallery.search(queries, 10), 3)
    half = Filter(modalities=(Modality.VISIBLE,))
    figures["gallery_64_half_filtered_per_s"] = 64e3 / median_ms(lambda: gallery.search(queries, 10, half), 3)
    check(backend, vectors, queries)


def check(backend: Backend, vectors: np.ndarray, queries: np.ndarray) -> None:
    """See that what was timed is right."""
    exact = vectors.astype(np.float64) @ queries[:4].astype(np.float64).T
    for column, (_, ids) in enumerate(zip(queries[:4], backend.search(queries[:4], 10)[1], strict=True)):
        assert ids.tolist() == np.argsort(-exact[:, column])[:10].tolist()


def perturbed(vectors: np.ndarray) -> np.ndarray:
    """Make queries: stored vectors, moved a little."""
    moved = vectors + 0.02 * np.random.default_rng(1).standard_normal(vectors.shape, dtype=np.float32)
    rows: np.ndarray = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return rows


def median_ms(action: Callable[[], object], rounds: int) -> float:
    """Run once to warm up, then return the median of some runs."""
    action()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def machine() -> str:
    """Say where this ran."""
    cpus = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cpus} CPUs, load {os.getloadavg()[0]:.1f}, faiss {faiss.__version__}, NumPy {np.__version__}"


if __name__ == "__main__":
    typer.run(main)
