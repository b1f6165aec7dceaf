"""Two engines' embeddings of the same images: alone, and at random places of batches of several sizes.

Gathers and judges nothing. What the source cannot do is an error; what the candidate cannot do is a finding. Knows no
people and no bars.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from vireid.engines.base import Engine
from vireid.errors import EngineError, ExportError

BATCHES = (1, 2, 7, 8, 16, 32)
PLACED = 192  # images that go through each size beyond 1
UNIT_TOLERANCE = 1e-3

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sized:
    """What one batch size gave, an entry for each image.

    Attributes:
        size: of the batches.
        rows: which images, (n,).
        cosine: between source and candidate, NaN where the candidate gave no number, (n,).
        company: between the candidate's row here and its row alone, (n,).
        faults: what was wrong with the rows themselves, in words.
    """

    size: int
    rows: Int64Array
    cosine: Float64Array
    company: Float64Array
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Everything two engines gave.

    Attributes:
        expected: the source's rows, one image at a time, (N, D).
        alone: the candidate's rows, one image at a time; NaN where it gave none, (N, D).
        sizes: by batch size, the smallest first.
    """

    expected: Float32Array
    alone: Float32Array
    sizes: tuple[Sized, ...]

    @property
    def cosine(self) -> Float64Array:
        """Cosine between the two rows of each image alone, (N,)."""
        return self.sizes[0].cosine

    @property
    def worst(self) -> Float64Array:
        """Least cosine of each image over every batch size, (N,); NaN counts as -1."""
        least = np.ones(len(self.expected))
        for part in self.sizes:
            np.minimum.at(least, part.rows, np.nan_to_num(part.cosine, nan=-1.0))
        return least


def steps(count: int) -> int:
    """Count the images that ``compare`` will tell of, both engines together."""
    placed = min(count, PLACED)
    return 2 * count + sum(-(-placed // size) * size for size in BATCHES[1:])


def compare(
    source: Engine,
    candidate: Engine,
    images: UInt8Array,
    modality: Int64Array,
    seed: int = 0,
    advance: Advance | None = None,
) -> Comparison:
    """Let two engines embed the same images.

    Args:
        source: the model the candidate was made from; its rows alone are the truth.
        candidate: what is to be served.
        images: preprocessed RGB, (N, H, W, 3).
        modality: 0 visible, 1 infrared, (N,).
        seed: of the places in the batches.
        advance: told of the images that went through.

    Raises:
        ExportError: the source itself gives no unit rows.
    """
    random = np.random.default_rng(seed)
    every: Int64Array = np.arange(len(images))
    expected = _source(source, images, modality, advance)
    alone, faults = _run(candidate, images, modality, [every[at : at + 1] for at in every], advance)
    if alone.shape != expected.shape:
        faults = (f"rows are {alone.shape[1:]}; {expected.shape[1:]} was expected", *faults)
        alone = np.full_like(expected, np.nan)
    sizes = [Sized(1, every, cosine(alone, expected), np.ones(len(images)), faults)]
    for size in BATCHES[1:]:
        rows = np.sort(random.permutation(every)[:PLACED])
        batches = list(_batches(rows, size, len(images), random))
        made, faults = _run(candidate, images, modality, batches, advance)
        order = np.concatenate(batches)
        first = _first_of_each(order, rows)
        if made.shape[1:] != expected.shape[1:]:
            faults = (f"rows are {made.shape[1:]}; {expected.shape[1:]} was expected", *faults)
            made = np.full((len(order), expected.shape[1]), np.nan, np.float32)
        sizes.append(
            Sized(size, rows, cosine(made[first], expected[rows]), cosine(made[first], alone[rows]), faults)
        )
    return Comparison(expected, alone, tuple(sizes))


def cosine(left: Float32Array, right: Float32Array) -> Float64Array:
    """Return the cosine of each pair of rows, NaN where one is NaN or nought, (N,)."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float64Array = np.einsum("bd,bd->b", a, b) / lengths
    return np.where(np.isfinite(found), found, np.nan)


def fault(rows: Float32Array) -> str:
    """Say what is wrong with rows that should be finite and of length 1; empty if nothing is."""
    if not np.isfinite(rows).all():
        return "NaN or infinity; look at its normalisation and its weights"
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    if len(norms) and np.abs(norms - 1).max() > UNIT_TOLERANCE:
        return f"rows of length {norms.min():.4f} to {norms.max():.4f}; unit rows are expected"
    return ""


def _source(
    engine: Engine, images: UInt8Array, modality: Int64Array, advance: Advance | None
) -> Float32Array:
    made = []
    for at in range(len(images)):
        made.append(engine.embed(images[at : at + 1], modality[at : at + 1]))
        if advance is not None:
            advance(1)
    rows = np.concatenate(made)
    if wrong := fault(rows):
        raise ExportError(f"the model itself gives {wrong}")
    return rows


def _run(
    engine: Engine,
    images: UInt8Array,
    modality: Int64Array,
    batches: list[Int64Array],
    advance: Advance | None,
) -> tuple[Float32Array, tuple[str, ...]]:
    """Embed batches; what fails is NaN, and each kind of fault is told once."""
    made: list[Float32Array | None] = []
    faults: dict[str, None] = {}
    for batch in batches:
        try:
            rows = engine.embed(images[batch], modality[batch])
        except EngineError as error:
            faults[f"a batch of {len(batch)} fails: {error.message}"] = None
            made.append(None)
        else:
            if len(rows) != len(batch) or rows.ndim != 2:
                faults[f"{len(batch)} images gave {rows.shape}"] = None
                made.append(None)
            else:
                if wrong := fault(rows):
                    faults[f"a batch of {len(batch)} has {wrong}"] = None
                made.append(rows)
        if advance is not None:
            advance(len(batch))
    width = next((rows.shape[1] for rows in made if rows is not None), engine.dim)
    whole = [
        np.full((len(batch), width), np.nan, np.float32) if rows is None else rows
        for rows, batch in zip(made, batches, strict=True)
    ]
    return np.concatenate(whole), tuple(faults)


def _batches(rows: Int64Array, size: int, count: int, random: np.random.Generator) -> Iterator[Int64Array]:
    """Put each image into one batch, at a random place in random company; the last one is filled up."""
    order = random.permutation(rows)
    for begin in range(0, len(order), size):
        batch = order[begin : begin + size]
        more = random.integers(0, count, size - len(batch))
        yield random.permutation(np.concatenate([batch, more]))


def _first_of_each(order: Int64Array, rows: Int64Array) -> Int64Array:
    """Return where each of ``rows`` stands first in ``order``."""
    values, first = np.unique(order, return_index=True)
    found: Int64Array = first[np.searchsorted(values, rows)]
    return found
