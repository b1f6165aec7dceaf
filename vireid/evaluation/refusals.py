"""What cannot be evaluated, told in words before any work is done. Knows no draws and no scores."""

import numpy as np

from vireid.arrays import Float32Array, Float64Array
from vireid.datasets.split import Dataset, Split
from vireid.errors import EvaluationError
from vireid.evaluation.features import Features
from vireid.evaluation.metrics import UNKNOWN
from vireid.evaluation.protocol import Protocol
from vireid.types import Modality


def check_protocol(dataset: Dataset, protocol: Protocol) -> None:
    """Refuse a protocol of another dataset or identity split.

    Raises:
        EvaluationError: it is.
    """
    if dataset.name != protocol.dataset:
        raise EvaluationError(
            f"the protocol {protocol.name} is for {protocol.dataset}, not for {dataset.name}"
        )
    if dataset.trial and protocol.trials != (dataset.trial,):
        raise EvaluationError(
            f"the dataset was read at identity split {dataset.trial}, the protocol asks for "
            f"{', '.join(map(str, protocol.trials))}; open the dataset at the protocol's split"
        )


def check_sides(query: Split, gallery: Split, protocol: Protocol) -> None:
    """Refuse sides that the protocol cannot ask or find.

    Args:
        query: what asks, the protocol's direction applied.
        gallery: what is found or drawn from.
        protocol: what they are for.

    Raises:
        EvaluationError: a side is empty or of another modality or camera, or no person is on both.
    """
    for side, split, wanted in (
        ("query", query, protocol.query_modality),
        ("gallery", gallery, protocol.gallery_modality),
    ):
        if not len(split):
            raise EvaluationError(f"the {side} holds no image; {protocol.name} needs some on both sides")
        if wanted is not None:
            _check_modality(side, split, wanted, protocol)
    _check_cameras(query, gallery, protocol)
    asked, found = set(query.persons.tolist()) - {UNKNOWN}, set(gallery.persons.tolist()) - {UNKNOWN}
    if not asked & found:
        raise EvaluationError(
            f"no person is in both query and gallery: {_range(asked)} ask and {_range(found)} are found; "
            f"both sides must number persons alike"
        )


def check_features(features: Features, dataset: Dataset) -> None:
    """Refuse features that do not belong to the dataset's images.

    Raises:
        EvaluationError: another number of rows or dimensions, NaN or infinity.
    """
    for split, vectors in ((dataset.query, features.query), (dataset.gallery, features.gallery)):
        if vectors.ndim != 2 or len(vectors) != len(split) or not vectors.shape[1]:
            raise EvaluationError(
                f"{split.name} features are {vectors.shape}; {len(split)} images need ({len(split)}, D)"
            )
        _check_finite(split, vectors)
    if features.query.shape[1] != features.gallery.shape[1]:
        raise EvaluationError(
            f"query features have {features.query.shape[1]} dimensions, gallery features "
            f"{features.gallery.shape[1]}; extract both with one model"
        )


def _check_finite(split: Split, vectors: Float32Array | Float64Array) -> None:
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise EvaluationError(
            f"{split.name} features hold NaN or infinity, first for {split.samples[row].path}; extract them again"
        )


def _check_modality(side: str, split: Split, wanted: Modality, protocol: Protocol) -> None:
    wrong = np.flatnonzero(split.modalities != int(wanted))
    if len(wrong):
        sample = split.samples[int(wrong[0])]
        raise EvaluationError(
            f"{len(wrong)} of {len(split)} {side} images are {sample.modality.word}, the first is {sample.path}; "
            f"{protocol.name} needs {wanted.word} ones there: take the others out, or turn the sides round"
        )


def _check_cameras(query: Split, gallery: Split, protocol: Protocol) -> None:
    if protocol.query_cameras:
        foreign = sorted(set(query.cameras.tolist()) - set(protocol.query_cameras))
        if foreign:
            raise EvaluationError(
                f"query images are of camera {_words(foreign)}; {protocol.name} asks from cameras "
                f"{_words(protocol.query_cameras)}: take the others out, or turn the sides round"
            )
    if protocol.cameras and not np.isin(gallery.cameras, np.array(protocol.cameras)).any():
        raise EvaluationError(
            f"the gallery's images are of cameras {_words(sorted(set(gallery.cameras.tolist())))}; "
            f"{protocol.name} finds images of cameras {_words(protocol.cameras)}, so its gallery is empty"
        )


def _range(persons: set[int]) -> str:
    if not persons:
        return "no known persons"
    return f"{len(persons)} persons from {min(persons)} to {max(persons)}"


def _words(numbers: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, numbers))
