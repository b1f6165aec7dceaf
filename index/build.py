"""Images on disk into a gallery: read, decode, preprocess, embed, enrol, as the server does it.

One bad image is reported and spoils nothing else. What is enrolled already, with the same bytes and metadata, is
not embedded again, so a build that was cut short goes on where it was. Knows no server.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from index import limits
from index.gallery import Gallery
from index.rows import Enrolment
from vireid.arrays import Float32Array, UInt8Array
from vireid.datasets import pixels
from vireid.engines import Engine
from vireid.errors import DatasetError, VireidError
from vireid.image_folder import Entry
from vireid.images import decode as decoding
from vireid.images.modality import detect
from vireid.images.preprocess import Preprocess
from vireid.images.thumbnail import thumbnail
from vireid.types import Modality

AT_ONCE = 32


@dataclass(slots=True)
class Report:
    """What a build did.

    Attributes:
        outcomes: how many were ``created``, ``replaced``, ``unchanged``.
        failures: path and reason of each image that was refused.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def count(self, outcome: str) -> None:
        """Add one."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, decoded and ready for the engine.

    Attributes:
        source: where it is and what is known of it.
        data: the encoded image, as a gallery keeps it.
        sha256: of the file's bytes.
        modality: as told, else as it looks.
        pixels: (H, W, 3), of the engine's input size.
        thumbnail: a small JPEG.
        converted: ``data`` is not the file's bytes: a bitmap becomes a PNG, as no server shows a bitmap.
    """

    source: Entry
    data: bytes
    sha256: str
    modality: Modality
    pixels: UInt8Array
    thumbnail: bytes
    converted: bool


class Embedder:
    """An engine and what its images need.

    Args:
        engine: the model.
        preprocess: of its bundle.
    """

    def __init__(self, engine: Engine, preprocess: Preprocess) -> None:
        self._engine, self._preprocess = engine, preprocess

    def picture(self, source: Entry, data: bytes) -> Picture:
        """Prepare an image.

        Raises:
            ImageError: it cannot be used.
        """
        converted = pixels.is_bitmap(source.path)
        rgb = pixels.bitmap(data) if converted else decoding.decode(data).rgb
        modality = detect(rgb)[0] if source.modality is None else source.modality
        sha256 = hashlib.sha256(data).hexdigest()
        kept = _png(rgb) if converted else data
        return Picture(source, kept, sha256, modality, self._preprocess.apply(rgb), thumbnail(rgb), converted)

    def embed(self, pictures: Sequence[Picture]) -> Float32Array:
        """Embed prepared images: unit rows, (N, D).

        Raises:
            EngineError: the model could not be run.
        """
        images = np.stack([one.pixels for one in pictures])
        return self._engine.embed(images, np.array([one.modality for one in pictures], np.int64))


def build(
    gallery: Gallery, sources: Sequence[Entry], embedder: Embedder, advance: Callable[[int], None]
) -> Report:
    """Enrol images; durable batch by batch.

    Args:
        gallery: where to.
        sources: which images, with distinct ids.
        embedder: makes embeddings of the gallery's space.
        advance: told how many images were just dealt with.

    Raises:
        EngineError: the model could not be run.
        StorageError: the disk is full; what was enrolled before stays.
    """
    report = Report()
    for batch in _batches(gallery, sources, embedder, report, advance):
        vectors = embedder.embed(batch)
        new = [
            Enrolment(
                one.source.item_id,
                one.modality,
                one.source.meta,
                one.sha256,
                vector,
                one.data,
                one.thumbnail,
                one.converted,
                one.source.expires_at,
            )
            for one, vector in zip(batch, vectors, strict=True)
        ]
        for outcome in gallery.enroll(new):
            report.count(outcome)
        advance(len(batch))
    return report


def read_file(source: Entry) -> bytes:
    """Read an image file, no more of it than one that would be refused as too large.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with source.path.open("rb") as file:
            return file.read(decoding.Limits().max_bytes + 1)
    except OSError as error:
        raise DatasetError(f"{source.path} cannot be read: {error.strerror}") from error


def _batches(
    gallery: Gallery,
    sources: Sequence[Entry],
    embedder: Embedder,
    report: Report,
    advance: Callable[[int], None],
) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    for source in sources:
        try:
            limits.check_item_id(source.item_id)
            limits.check_meta(source.item_id, source.meta)
            limits.check_expiry(source.item_id, source.expires_at)
            data = read_file(source)
            sha256 = hashlib.sha256(data).hexdigest()
            if gallery.holds(source.item_id, sha256, source.modality, source.meta, source.expires_at):
                report.count("unchanged")
                advance(1)
                continue
            batch.append(embedder.picture(source, data))
        except VireidError as error:
            report.failures.append((str(source.path), f"{error.message} [{error.stable_reason}]"))
            advance(1)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _png(rgb: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()
