"""How fast a gallery stores for good and starts again, beside two stores that keep vectors on disk.

    pip install qdrant-client lancedb     # the peers; what is not installed is left out
    python benchmarks/storage.py --quick --json storage.json

Unit vectors drawn at random, one integer beside each, no pictures, 1,000 a call; making the items is not counted.
A gallery returns when the call is on the disk, and so does Qdrant's local mode, which commits to SQLite. LanceDB (0.40)
returns when the system has the bytes: it makes no fsync, so a power cut may take what it said was stored; beside it, it
is told with the files of each call flushed by us, which is the same promise. The plain write of the same bytes, flushed
call by call, says what the disk allows. Rounds alternate; a ratio is the median
over rounds. Pictures, 20 kB and a thumbnail of 4 kB an item and 100 items a call, are kept in the gallery and as files
named by their content (``picture_stores``); read back one by one in any order, and removed 100 a call. The start is
measured in processes of their own, thrice from the gallery's cache and once without it; the first is told beside the
median, as memory that a virtual machine never used costs more.
"""

import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from learning.goal import Goal
from picture_stores import InFiles, InTheGallery, PictureStore, room

from clients import machine
from index.records import Enrolment
from index.store import GalleryStore
from vireid.types import ItemMeta, Modality

SPACE = "0" * 64
BATCH = 1000
QDRANT_ITEMS = 3000  # stores each vector on its own: as many tell its speed
PICTURES, PICTURE_BATCH, IMAGE_BYTES, THUMBNAIL_BYTES = 2000, 100, 20_000, 4_000
LEAST_PER_S, LEAST_BY_QDRANT, LEAST_BY_LANCEDB = 20_000, 10, 0.5
LEAST_BY_FILES = 1.0
MOST_START_S, MOST_MEMORY = 10, 2.5
STARTS = 3

START = """
import json, sys, time
from pathlib import Path
from index.store import GalleryStore
def peak_mb():  # of this program alone; getrusage begins with what its parent had
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
bare = peak_mb()
began, worked = time.perf_counter(), time.process_time()
store = GalleryStore(Path(sys.argv[1]), "0" * 64, int(sys.argv[2]))
opened, worked = time.perf_counter(), time.process_time() - worked
gallery = store.get("g")
hit = gallery.search(gallery.vector("item-7")[None], 1)[0].hits[0]
assert (hit.item.item_id, hit.item.meta.camera) == ("item-7", "7"), hit
peak = peak_mb()
print(json.dumps({"items": gallery.info().items, "open_s": opened - began, "open_cpu_s": worked, "peak_mb": peak,
                  "bare_mb": bare, "first_answer_s": time.perf_counter() - opened}))
"""


def main(
    quick: Annotated[bool, typer.Option("--quick", help="10,000 items and one round.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    items: Annotated[int, typer.Option(help="How many items; 0 for the usual.")] = 0,
    start: Annotated[int, typer.Option(help="How many items a start reads; 0 for the usual.")] = 0,
    dim: Annotated[int, typer.Option(help="Numbers of an embedding.")] = 512,
    folder: Annotated[Path | None, typer.Option(help="Where to write; left out: a temporary folder.")] = None,
) -> None:
    """Measure durable enrolment and a start; exit 1 if a goal is missed."""
    items, start = items or (10_000 if quick else 100_000), start or (60_000 if quick else 1_000_000)
    figures: dict[str, float] = {"items": items, "dim": dim}
    goals = measure_enrolment(figures, items, dim, 1 if quick else 3, folder)
    goals += measure_pictures(figures, PICTURES // (4 if quick else 1), dim, 1 if quick else 3, folder)
    goals += measure_start(figures, start, dim, folder)
    for name, value in figures.items():
        print(f"{name:32} {value:14,.2f}")
    for goal in goals:
        print(goal.line())
    if json_path is not None:
        document = {"machine": machine.describe(), "figures": figures}
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise typer.Exit(0 if all(goal.passed for goal in goals) else 1)


def measure_enrolment(
    figures: dict[str, float], items: int, dim: int, rounds: int, folder: Path | None
) -> list[Goal]:
    """Store the same vectors in turns; note items a second."""
    ways: dict[str, Callable[[Path, int, int], float]] = {"disk": into_a_file, "vireid": into_a_gallery}
    if importlib.util.find_spec("lancedb"):
        ways |= {"lancedb": into_lancedb, "lancedb_flushed": partial(into_lancedb, flushed=True)}
    ways |= {"qdrant": into_qdrant} if importlib.util.find_spec("qdrant_client") else {}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, store in ways.items():
            count = min(items, QDRANT_ITEMS) if name == "qdrant" else items
            with tempfile.TemporaryDirectory(dir=folder) as place:
                os.sync()  # what the one before left to be written is not to be measured
                speeds[name].append(count / store(Path(place), count, dim))
    figures |= {f"{name}_items_per_s": statistics.median(found) for name, found in speeds.items()}
    goals = [Goal.at_least("items_per_s", figures["vireid_items_per_s"], LEAST_PER_S)]
    for name in [one for one in ways if one not in ("disk", "vireid")]:
        ratios = [ours / peers for ours, peers in zip(speeds["vireid"], speeds[name], strict=True)]
        figures[f"vireid_by_{name}"] = statistics.median(ratios)
    for name, least in (("qdrant", LEAST_BY_QDRANT), ("lancedb", LEAST_BY_LANCEDB)):
        if name in ways:
            goals.append(Goal.at_least(f"by_{name}", figures[f"vireid_by_{name}"], least))
    return goals


def measure_pictures(
    figures: dict[str, float], items: int, dim: int, rounds: int, folder: Path | None
) -> list[Goal]:
    """Keep pictures both ways in turns; note items a second, and kilobytes of disk an item."""
    ways: dict[str, Callable[[Path, str, int], PictureStore]] = {"gallery": InTheGallery, "files": InFiles}
    speeds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, make in ways.items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                speeds[name].append(kept(make(Path(place), SPACE, dim), items, dim, Path(place)))
        for name, found in speeds.items():
            figures[f"pictures_{name}_kb_an_item"] = found[-1].pop("kb")
    for what in ("enrolled", "read", "removed"):
        for name in ways:
            figures[f"pictures_{name}_{what}_per_s"] = statistics.median(one[what] for one in speeds[name])
        ratios = [
            ours[what] / files[what] for ours, files in zip(speeds["gallery"], speeds["files"], strict=True)
        ]
        figures[f"pictures_{what}_by_files"] = statistics.median(ratios)
    return [
        Goal.at_least(f"pictures_{what}_by_files", figures[f"pictures_{what}_by_files"], LEAST_BY_FILES)
        for what in ("enrolled", "read", "removed")
    ]


def kept(store: PictureStore, items: int, dim: int, folder: Path) -> dict[str, float]:
    """Enrol items with pictures, read all and remove half; return items a second, and kilobytes each before that."""
    draw, seconds = np.random.default_rng(1), 0.0
    first_images: list[bytes] = []
    for start, rows in drawn(items, dim, PICTURE_BATCH):
        batch = [pictured(start + at, row, draw) for at, row in enumerate(rows)]
        first_images += [one.image for one in batch[:1] if one.image is not None]
        seconds += timed(lambda batch=batch: store.enrol(batch))
    found = {"enrolled": items / seconds, "kb": room(folder) / items / 1000}
    order = [f"item-{n}" for n in draw.permutation(items)]
    found["read"] = items / timed(lambda: [store.image(one) for one in order])
    assert [store.image(f"item-{PICTURE_BATCH * n}") for n in range(len(first_images))] == first_images
    half = order[: items // 2]
    parts = [half[at : at + PICTURE_BATCH] for at in range(0, len(half), PICTURE_BATCH)]
    found["removed"] = len(half) / timed(lambda: [store.remove(part) for part in parts])
    store.close()
    return found


def measure_start(figures: dict[str, float], items: int, dim: int, folder: Path | None) -> list[Goal]:
    """Start in processes of their own, one after the other; note seconds and memory, medians."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        into_a_gallery(Path(place), items, dim)
        os.sync()  # what was just written is not to be measured
        for name, times in (("cache", STARTS), ("file", 1)):
            told = [started(Path(place), items, dim) for _ in range(times)]
            figures[f"start_from_{name}_first_open_s"] = told[0]["open_s"]
            for key in told[0]:
                figures[f"start_from_{name}_{key}"] = statistics.median(one[key] for one in told)
            for cache in Path(place).rglob("*-cache"):
                cache.unlink()
    return [
        Goal.at_most("start_s", figures["start_from_cache_open_s"], MOST_START_S),
        Goal.at_most("start_memory_by_raw", figures["start_from_cache_peak_by_raw"], MOST_MEMORY),
    ]


def started(folder: Path, items: int, dim: int) -> dict[str, float]:
    """Start once; return what it told."""
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", START, folder, str(dim)], check=True, capture_output=True, text=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    # the program itself is not the gallery's: of a small one it would be most
    told["peak_by_raw"] = (told["peak_mb"] - told["bare_mb"]) / (items * dim * 4 / 2**20)
    return told


def drawn(items: int, dim: int, at_once: int = BATCH) -> Iterator[tuple[int, np.ndarray]]:
    """Draw unit vectors, a batch at a time, with the number of the first."""
    for first in range(0, items, at_once):
        rows = np.random.default_rng(first).standard_normal(
            (min(at_once, items - first), dim), dtype=np.float32
        )
        yield first, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def into_a_file(folder: Path, items: int, dim: int) -> float:
    """Append the bytes to a file and flush each batch."""
    seconds = 0.0
    with (folder / "plain").open("wb", buffering=0) as file:
        for _, rows in drawn(items, dim):
            data = rows.tobytes()
            seconds += timed(lambda data=data: (file.write(data), os.fsync(file.fileno())))
    return seconds


def into_a_gallery(folder: Path, items: int, dim: int) -> float:
    """Enrol into a gallery that keeps no images."""
    store, seconds = GalleryStore(folder, SPACE, dim), 0.0
    gallery = store.create("g", store_images=False)
    for first, rows in drawn(items, dim):
        batch = [item(first + at, row) for at, row in enumerate(rows)]
        seconds += timed(lambda batch=batch: gallery.enroll(batch))
    assert gallery.info().items == items
    store.close()
    return seconds


def into_lancedb(folder: Path, items: int, dim: int, flushed: bool = False) -> float:
    """Append to a table, without an index; ``flushed``: with the files of each call forced onto the disk by us."""
    import lancedb
    import pyarrow

    kind = pyarrow.schema([("key", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), dim))])
    table, seconds = lancedb.connect(folder).create_table("g", schema=kind), 0.0
    for first, rows in drawn(items, dim):
        keys = pyarrow.array(range(first, first + len(rows)), pyarrow.int64())
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), dim)
        batch = pyarrow.table([keys, vectors], schema=kind)
        before = set(folder.rglob("*")) if flushed else set()
        seconds += timed(lambda batch=batch: table.add(batch))
        if flushed:
            new = set(folder.rglob("*")) - before  # looking for them is not counted
            new |= {path.parent for path in new}
            seconds += timed(lambda new=new: [flush(path) for path in new])
    assert table.count_rows() == items
    return seconds


def flush(path: Path) -> None:
    """Force a file or a folder onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def into_qdrant(folder: Path, items: int, dim: int) -> float:
    """Upsert into a collection of the client's local mode on disk."""
    from qdrant_client import QdrantClient, models

    client, seconds = QdrantClient(path=str(folder)), 0.0
    client.create_collection("g", models.VectorParams(size=dim, distance=models.Distance.DOT))
    for first, rows in drawn(items, dim):
        keys = list(range(first, first + len(rows)))
        batch = models.Batch(ids=keys, vectors=rows.tolist(), payloads=[{"key": key} for key in keys])
        seconds += timed(lambda batch=batch: client.upsert("g", batch))
    assert client.count("g").count == items
    client.close()
    return seconds


def item(n: int, vector: np.ndarray) -> Enrolment:
    """Make an item of one of 997 people and 30 cameras."""
    meta = ItemMeta(person=str(n % 997), camera=str(n % 30))
    digest = hashlib.sha256(n.to_bytes(8, "big")).hexdigest()
    return Enrolment(f"item-{n}", Modality(n % 2), meta, digest, vector)


def pictured(n: int, vector: np.ndarray, draw: np.random.Generator) -> Enrolment:
    """Make an item with an image and a thumbnail that nobody else has."""
    image, thumbnail = draw.bytes(IMAGE_BYTES), draw.bytes(THUMBNAIL_BYTES)
    digest = hashlib.sha256(image).hexdigest()
    return replace(item(n, vector), sha256=digest, image=image, thumbnail=thumbnail)


if __name__ == "__main__":
    typer.run(main)
