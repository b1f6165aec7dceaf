"""Galleries and items to put into them."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.gallery import Gallery
from index.records import Enrolment
from index.store import GalleryStore
from vireid.arrays import Float32Array
from vireid.types import ItemMeta, Modality

DIM = 16
SPACE = "5" * 64


def unit(seed: object, dim: int = DIM) -> Float32Array:
    """A unit vector; the same for the same seed."""
    digest = hashlib.sha256(repr(seed).encode()).digest()
    row = np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def picture(seed: object, size: int = 600) -> bytes:
    """Bytes that stand for an encoded image; nothing else holds them."""
    digest = hashlib.sha256(repr(("picture", seed)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big")).bytes(size)


@pytest.fixture(scope="session")
def vector() -> Callable[..., Float32Array]:
    return unit


@pytest.fixture(scope="session")
def enrolment() -> Callable[..., Enrolment]:
    def make(item_id: str, seed: object = None, **fields: Any) -> Enrolment:
        seed = item_id if seed is None else seed
        image = fields.pop("image", picture(seed))
        thumbnail = fields.pop("thumbnail", picture((seed, "small"), 200))
        modality = fields.pop("modality", Modality.VISIBLE)
        vector = fields.pop("vector", unit(seed))
        sha256 = fields.pop("sha256", hashlib.sha256(image or b"").hexdigest())
        return Enrolment(item_id, modality, ItemMeta(**fields), sha256, vector, image, thumbnail)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GalleryStore]:
    opened = GalleryStore(tmp_path / "data", SPACE, DIM)
    yield opened
    opened.close()


@pytest.fixture
def gallery(store: GalleryStore) -> Gallery:
    return store.create("people")


@pytest.fixture
def reopen(store: GalleryStore, tmp_path: Path) -> Iterator[Callable[[], GalleryStore]]:
    """Close the store and open its folder again."""
    opened = [store]

    def again() -> GalleryStore:
        opened[-1].close()
        opened.append(GalleryStore(tmp_path / "data", SPACE, DIM))
        return opened[-1]

    yield again
    opened[-1].close()
