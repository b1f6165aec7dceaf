"""Proof that a runtime gives the embeddings of the model it was made from.

A candidate engine is held against a reference: alone and at a random place of mixed batches, in both
modalities; and the embeddings must tell different images apart, so that two engines which are equally broken
do not agree. Knows engines only: not torch, not ONNX, not bundles.
"""

from dataclasses import asdict, dataclass

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines.base import Engine
from vireid.errors import ExportError

BATCHES = (1, 2, 7, 16)
UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a candidate may be from its reference.

    Attributes:
        cosine: least cosine between the two embeddings of one image.
        apart: greatest cosine between two different images of one modality.
    """

    cosine: float = 0.99999
    apart: float = 0.999


@dataclass(frozen=True, slots=True)
class Probes:
    """Images to compare on; the same people need not be in both modalities.

    Attributes:
        images: preprocessed RGB, (N, H, W, 3), N >= 4, every row another image.
        modality: 0 visible, 1 infrared, (N,), both present.
    """

    images: UInt8Array
    modality: Int64Array


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured.

    Attributes:
        reference: runtime of the reference.
        candidate: runtime and provider of the candidate.
        probes: number of images.
        batches: the batch sizes tried.
        cosine_min: least cosine between reference and candidate, over every batch size and place.
        mixed_cosine_min: least cosine between a candidate's row alone and the same row in a mixed batch.
        apart_cosine_max: greatest cosine between two different images of one modality.
        threshold: the least cosine allowed.
    """

    reference: str
    candidate: str
    probes: int
    batches: tuple[int, ...]
    cosine_min: float
    mixed_cosine_min: float
    apart_cosine_max: float
    threshold: float

    def as_json(self) -> dict[str, object]:
        """The report as plain values."""
        return {**asdict(self), "batches": list(self.batches)}


def draw_probes(height: int, width: int, count: int = 24, seed: int = 0) -> Probes:
    """Draw figures on backgrounds, half in colour, half in grey: not people, but not noise either."""
    rng = np.random.default_rng(seed)
    modality: Int64Array = np.arange(count, dtype=np.int64) % 2
    images = np.empty((count, height, width, 3), np.uint8)
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width], float)[:, None, None]
    for at in range(count):
        colours = rng.uniform(0, 255, (5, 3))
        picture = colours[0] * (1 - rows[..., None]) + colours[1] * rows[..., None]
        middle, half = rng.uniform(0.4, 0.6), rng.uniform(0.15, 0.3)
        belt, head = rng.uniform(0.45, 0.6), rng.uniform(0.15, 0.22)
        inside = np.abs(columns - middle) < half
        picture[inside & (rows > head) & (rows < belt)] = colours[2]
        legs = inside & (rows >= belt) & (np.abs(columns - middle) > half * rng.uniform(0, 0.4))
        picture[legs] = colours[3]
        picture[((columns - middle) / half) ** 2 + ((rows - head / 2) / (head / 2)) ** 2 < 1] = colours[4]
        picture += rng.normal(0, rng.uniform(2, 12), picture.shape)
        if modality[at]:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        images[at] = np.clip(picture, 0, 255).astype(np.uint8)
    return Probes(images, modality)


def prove(
    reference: Engine, candidate: Engine, probes: Probes, tolerance: Tolerance | None = None, seed: int = 0
) -> Report:
    """Hold a candidate against a reference.

    Args:
        reference: the model exported, run one image at a time.
        candidate: what will be served.
        probes: images to compare on.
        tolerance: how far apart they may be; the fp32 tolerance if not given.
        seed: of the places in the batches.

    Raises:
        ExportError: the candidate differs, depends on its batch, is not finite or cannot tell images apart.
    """
    tolerance = tolerance or Tolerance()
    _check_probes(probes)
    expected = _one_by_one(reference, probes, "the model")
    alone = _one_by_one(candidate, probes, "the exported model")
    _compare(alone, expected, tolerance.cosine, "the exported model differs from the model it was made from")
    least, mixed = float(_cosine(alone, expected).min()), 1.0
    rng = np.random.default_rng(seed)
    for size in BATCHES:
        for row in range(len(probes.images)):
            batch, place = _batch_around(row, size, len(probes.images), rng)
            made = candidate.embed(probes.images[batch], probes.modality[batch])
            _check_rows(made, "the exported model")
            found = f"row {place} of a batch of {size} differs"
            _compare(made, expected[batch], tolerance.cosine, f"{found} from the model")
            here, self_alone = made[place : place + 1], alone[row : row + 1]
            _compare(here, self_alone, tolerance.cosine, f"{found} from itself alone")
            least = min(least, float(_cosine(made, expected[batch]).min()))
            mixed = min(mixed, float(_cosine(here, self_alone).min()))
    return Report(
        reference=reference.info.runtime,
        candidate=f"{candidate.info.runtime} {candidate.info.provider}",
        probes=len(probes.images),
        batches=BATCHES,
        cosine_min=round(least, 7),
        mixed_cosine_min=round(mixed, 7),
        apart_cosine_max=round(_apart(alone, probes.modality, tolerance.apart), 7),
        threshold=tolerance.cosine,
    )


def _check_probes(probes: Probes) -> None:
    if len(probes.images) < 4 or set(probes.modality.tolist()) != {0, 1}:
        raise ExportError("parity needs at least four images and both modalities among them")
    if len(np.unique(probes.images.reshape(len(probes.images), -1), axis=0)) < len(probes.images):
        raise ExportError("parity needs different images; two of those given are the same")


def _one_by_one(engine: Engine, probes: Probes, who: str) -> Float32Array:
    rows = [
        engine.embed(probes.images[at : at + 1], probes.modality[at : at + 1])
        for at in range(len(probes.images))
    ]
    made = np.concatenate(rows)
    _check_rows(made, who)
    return made


def _check_rows(rows: Float32Array, who: str) -> None:
    if not np.isfinite(rows).all():
        raise ExportError(f"{who} gives NaN or infinity; look at its normalisation and its weights")
    norms = np.linalg.norm(rows, axis=1)
    if np.abs(norms - 1).max() > UNIT_TOLERANCE:
        found = f"{norms.min():.4f} to {norms.max():.4f}"
        raise ExportError(f"{who} gives rows of length {found}; unit rows are expected")


def _cosine(left: Float32Array, right: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine: Float32Array = np.einsum("bd,bd->b", left, right) / lengths
    return cosine


def _compare(made: Float32Array, expected: Float32Array, threshold: float, failure: str) -> None:
    if made.shape != expected.shape:
        raise ExportError(f"{failure}: shape {made.shape}, expected {expected.shape}")
    cosine = _cosine(made, expected)
    if cosine.min() < threshold:
        raise ExportError(f"{failure}: cosine {cosine.min():.6f}, at least {threshold} is required")


def _batch_around(row: int, size: int, count: int, rng: np.random.Generator) -> tuple[Int64Array, int]:
    batch: Int64Array = rng.integers(0, count, size)
    place = int(rng.integers(size))
    batch[place] = row
    return batch, place


def _apart(rows: Float32Array, modality: Int64Array, bound: float) -> float:
    same = modality[:, None] == modality[None, :]
    np.fill_diagonal(same, val=False)
    greatest = float((rows @ rows.T)[same].max())
    if greatest > bound:
        raise ExportError(
            f"two different images get embeddings of cosine {greatest:.5f}; at most {bound} is allowed: "
            "the model does not tell images apart"
        )
    return greatest
