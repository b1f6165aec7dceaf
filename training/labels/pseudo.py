"""Pseudo-labels: who is taken for whom, how sure that is, and how it was found; kept on disk with their fingerprint.

A file of labels that no longer is what it was when it was written is refused, so that a stage never trains on
another run's leftovers. Knows no way of making labels.
"""

import hashlib
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.labels.outliers import renumber
from vireid.arrays import BoolArray, Float32Array, Int64Array
from vireid.errors import TrainingError

SUFFIX = ".npz"
_ARRAYS = {"labels": "<i8", "confidence": "<f4", "outlier": "|b1"}
# what NumPy, zipfile and zlib say of a file that is damaged in one place or another
_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """Labels of images by index.

    Attributes:
        labels: class of each image, from 0, -1 for none, (N,).
        confidence: 0 to 1, (N,).
        outlier: whether it belongs to no class, or to one of its own, (N,).
        made: how, in words and numbers JSON can hold: the method, its settings, what came out.
    """

    labels: Int64Array
    confidence: Float32Array
    outlier: BoolArray
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises TrainingError for arrays that do not fit each other, or a confidence outside 0 to 1."""
        shapes = [np.shape(getattr(self, name)) for name in _ARRAYS]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1:
            raise TrainingError(
                f"labels, confidence and outlier have shapes {shapes}; expected (N,) of each, one an image"
            )
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise TrainingError("a confidence is outside 0 to 1 or not finite; expected shares")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """How many classes have an image."""
        return len(np.unique(self.labels[self.labels >= 0]))

    @property
    def sha256(self) -> str:
        """Fingerprint of the labels and of how they were made."""
        seen = hashlib.sha256(_told(self.made).encode())
        for name, kind in _ARRAYS.items():
            seen.update(f"\n{name} {len(self)}\n".encode())
            seen.update(np.ascontiguousarray(getattr(self, name), dtype=kind).tobytes())
        return seen.hexdigest()

    def renumbered(self) -> "PseudoLabels":
        """Return the same with classes from 0 without a gap."""
        return PseudoLabels(renumber(self.labels), self.confidence, self.outlier, self.made)


def save(path: Path, labels: PseudoLabels) -> str:
    """Write labels to an .npz file, whole or not at all.

    Returns:
        Their fingerprint.

    Raises:
        TrainingError: the name has another suffix, ``made`` is nothing JSON can hold, or the disk refuses.
    """
    if path.suffix != SUFFIX:
        raise TrainingError(f"{path} does not end in {SUFFIX}; name it so")
    mark = labels.sha256
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as out:
            np.savez_compressed(
                out,
                made=np.array(_told(labels.made)),
                sha256=np.array(mark),
                allow_pickle=False,
                **{name: np.asarray(getattr(labels, name), dtype=kind) for name, kind in _ARRAYS.items()},
            )
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainingError(f"{path} cannot be written: {error.strerror}") from error
    return mark


def load(path: Path, sha256: str | None = None) -> PseudoLabels:
    """Read labels from an .npz file.

    Args:
        path: the file.
        sha256: the fingerprint they must have; None takes the one in the file.

    Raises:
        TrainingError: no such file, no labels, or labels of another fingerprint.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for name in (*_ARRAYS, "made", "sha256")}
        made = json.loads(str(held["made"]))
    except FileNotFoundError:
        raise TrainingError(f"{path} is missing; run the stage that makes the labels first") from None
    except _DAMAGE as error:
        raise TrainingError(f"{path} holds no pseudo-labels ({error}); make them anew") from error
    labels = PseudoLabels(
        held["labels"].astype(np.int64),
        held["confidence"].astype(np.float32),
        held["outlier"].astype(np.bool_),
        made,
    )
    found, expected = labels.sha256, sha256 or str(held["sha256"])
    if found != expected:
        raise TrainingError(
            f"{path} has the fingerprint {found[:12]}, expected {expected[:12]}: it was changed, or comes from "
            f"another run; make the labels anew"
        )
    return labels


def _told(made: Mapping[str, Any]) -> str:
    """Return how labels were made in one spelling."""
    try:
        return json.dumps(dict(made), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"how the labels were made cannot be written as JSON: {error}; use words and numbers"
        ) from error
