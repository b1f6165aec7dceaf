"""The golden vectors' features, made anew from their recipe: image counts and a seed in, integers out.

A feature is the weighted sum of six draws (its person, its modality, its camera, its person in that modality,
its person in that camera, itself), times a thousand and rounded. Inner products of whole numbers are exact in
float64 whatever adds them up, so two right evaluators agree on every rank. golden_public.json holds the SHA-256
of each set's features, and the answers.

A pool is every image of a set: columns are the row of its person, person, camera, modality (0 visible,
1 infrared) and its number inside the (person, camera) folder.
"""

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DIM = 64
VISIBLE, INFRARED = 0, 1
SYSU_MODALITIES = {1: VISIBLE, 2: VISIBLE, 3: INFRARED, 4: VISIBLE, 5: VISIBLE, 6: INFRARED}
CAMERAS = {"sysu": 6, "llcm": 9, "regdb": 2}
# weights of person, modality, camera, person in modality, person in camera, image
WEIGHTS = {
    "sysu": (1.0, 1.2, 0.5, 0.62, 0.55, 0.85),
    "regdb": (1.0, 1.2, 0.0, 0.80, 0.00, 0.55),
    "llcm": (1.0, 1.0, 0.5, 0.70, 0.60, 0.80),
}
LARGEST = 32767


def pool(family: str, structure: Mapping[str, Any]) -> np.ndarray:
    """List every image of a set, persons ascending, then modality for LLCM and RegDB, then camera, (N, 5)."""
    folders: list[tuple[int, int, int, int, int]] = []  # row, person, camera, modality, images
    if family == "sysu":
        for row, (person, counts) in enumerate(zip(structure["ids"], structure["counts"], strict=True)):
            folders += [(row, person, c, SYSU_MODALITIES[c], n) for c, n in enumerate(counts, 1)]
    elif family == "llcm":
        sides = ((VISIBLE, structure["vis"]), (INFRARED, structure["nir"]))
        seen = sorted((p, m, c, n) for m, side in sides for p, c, n in side)
        rows = {person: row for row, person in enumerate(sorted({p for p, *_ in seen}))}
        folders = [(rows[p], p, c, m, n) for p, m, c, n in seen]
    else:
        for row, modality in itertools.product(range(structure["n_ids"]), (VISIBLE, INFRARED)):
            folders.append((row, row + 1, modality + 1, modality, structure["per_id"]))
    return np.array([(*folder, i) for *folder, n in folders for i in range(n)], dtype=np.int64)


def features(family: str, images: np.ndarray, seed: int) -> np.ndarray:
    """Draw the features of a pool, little-endian int16, (N, 64)."""
    draw = np.random.RandomState(seed).randn
    row, camera, modality = images[:, 0], images[:, 2], images[:, 3]
    persons, cameras = int(row.max()) + 1, CAMERAS[family] + 1
    parts = (
        draw(persons, DIM)[row],
        draw(2, DIM)[modality],
        draw(cameras, DIM)[camera],
        draw(persons, 2, DIM)[row, modality],
        draw(persons, cameras, DIM)[row, camera],
        draw(len(images), DIM),
    )
    total = np.zeros((len(images), DIM))
    for weight, part in zip(WEIGHTS[family], parts, strict=True):
        total += weight * part
    return np.clip(np.rint(1000.0 * total), -LARGEST, LARGEST).astype("<i2")


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


# ---- draws, written apart from the product's ----------------------------------
def folders(images: np.ndarray, cameras: Sequence[int], modality: int) -> dict[tuple[int, int], list[int]]:
    """Return the pool rows of each (person, camera), persons ascending, then cameras as given."""
    where = {
        (p, c): np.flatnonzero(
            (images[:, 1] == p) & (images[:, 2] == c) & (images[:, 3] == modality)
        ).tolist()
        for p in np.unique(images[:, 1]).tolist()
        for c in cameras
    }
    return {key: rows for key, rows in where.items() if rows}


def drawn(images: np.ndarray, cameras: Sequence[int], modality: int, trial: int, shots: int) -> np.ndarray:
    """Draw a gallery with Python's generator, as most published code does."""
    source = random.Random(trial)
    rows: list[int] = []
    for images_there in folders(images, cameras, modality).values():
        rows += source.sample(images_there, shots) if shots > 1 else [source.choice(images_there)]
    return np.array(rows)


def permutations(images: np.ndarray, seed: int) -> list[dict[tuple[int, int], np.ndarray]]:
    """Draw a stand-in for SYSU-MM01's file of orders: for each of ten trials, by (person, camera), from 1."""
    state = np.random.RandomState(seed)
    counts: dict[tuple[int, int], int] = {}
    for camera, person in sorted(zip(images[:, 2].tolist(), images[:, 1].tolist(), strict=True)):
        counts[person, camera] = counts.get((person, camera), 0) + 1
    return [{key: state.permutation(n) + 1 for key, n in counts.items()} for _ in range(10)]


def regdb_split(seed: int, trial: int) -> list[int]:
    """Return the test persons of an identity split, in the order of its lists."""
    half = np.random.RandomState(seed + 1000 + trial).permutation(412)[:206] + 1
    return [int(person) for person in half]


def shuffled(structure: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return a structure of the same image counts whose persons are others."""
    state = np.random.RandomState(seed)
    sysu, llcm = structure["sysu"], structure["llcm"]
    ids = sorted((state.permutation(333)[: len(sysu["ids"])] + 1).tolist())
    counts = [sysu["counts"][i] for i in state.permutation(len(ids))]
    old = sorted({p for side in ("vis", "nir") for p, *_ in llcm[side]})
    new = dict(zip(old, state.permutation(1200)[: len(old)].tolist(), strict=True))
    return {
        "sysu": {"ids": ids, "counts": counts},
        "llcm": {side: sorted([new[p], c, n] for p, c, n in llcm[side]) for side in ("vis", "nir")},
        "regdb": structure["regdb"],
    }
