"""The measurements by which the default bundle is chosen, and the three conditions it must meet.

Real visible crops say whether the start's own skill is kept; drawn people, never trained on, say what was won
across modalities. Every number is mean average precision; no image of the asked person by the asking camera
(or, on the real crops, of the asking track) may be found. Knows engines, not how a model was made.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.bridge import INFRARED, VISIBLE, Crops
from vireid.arrays import Float32Array
from vireid.datasets import Dataset
from vireid.engines.base import Engine
from vireid.errors import DatasetError
from vireid.evaluation import metrics
from vireid.evaluation.metrics import Labels
from vireid.images.decode import decode
from vireid.images.preprocess import Preprocess

KEPT_WITHIN = 0.01  # of the start's visible mean average precision on the real crops
GAIN = 2.0  # infrared to visible, against the start
BATCH = 16


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Mean average precision on one drawn hold-out.

    Attributes:
        visible: visible asks, visible is found, across cameras.
        infrared: infrared asks, infrared is found, across cameras.
        across: infrared asks, visible is found.
        rank1: of the same.
    """

    visible: float
    infrared: float
    across: float
    rank1: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is measured of one engine.

    Attributes:
        real_visible: the real crops, visible to visible, across tracks.
        real_grey: the real crops in grey, passed off as infrared, to visible, across tracks: a sanity check.
        synthetic: hold-out name -> what was measured on it.
    """

    real_visible: float
    real_grey: float
    synthetic: Mapping[str, Synthetic]

    def as_json(self) -> dict[str, object]:
        """Rounded plain values, the protocol in their names."""
        drawn = {
            name: {
                "visible_to_visible_map": round(found.visible, 4),
                "infrared_to_infrared_map": round(found.infrared, 4),
                "infrared_to_visible_map": round(found.across, 4),
                "infrared_to_visible_rank1": round(found.rank1, 4),
            }
            for name, found in self.synthetic.items()
        }
        return {
            "real_vtest": {
                "visible_to_visible_map": round(self.real_visible, 4),
                "grey_as_infrared_to_visible_map": round(self.real_grey, 4),
                "protocol": "225 crops, 10 people; every crop asks, all crops of other tracks are found",
            },
            "synthetic": {
                **drawn,
                "protocol": "drawn people never trained on; never the asked person by the asking camera",
            },
        }


@dataclass(frozen=True, slots=True)
class Exam:
    """What engines are measured on.

    Attributes:
        real: the real visible crops; ``camera`` is the track.
        synthetic: hold-out name -> crops of drawn people.
    """

    real: Crops
    synthetic: Mapping[str, Crops]


def read_real(folder: Path, preprocess: Preprocess) -> Crops:
    """Read the real crops beside their ``labels.csv``; a track takes the camera's place.

    Raises:
        DatasetError: there is no ``labels.csv``.
    """
    labels = folder / "labels.csv"
    if not labels.is_file():
        raise DatasetError(
            f"{labels} is not there; the folder of real crops holds labels.csv beside its images"
        )
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    people = sorted({row["person"] for row in rows})
    return Crops(
        images=np.stack([preprocess.apply(decode((folder / row["file"]).read_bytes()).rgb) for row in rows]),
        person=np.array([people.index(row["person"]) for row in rows], np.int64),
        camera=np.array([int(row["track"]) for row in rows], np.int64),
        modality=np.full(len(rows), VISIBLE, np.int64),
        scene=np.zeros(len(rows), np.int64),
    )


def read_drawn(dataset: Dataset, preprocess: Preprocess) -> Crops:
    """Read every image of a dataset, whatever its split."""
    samples = {s.path: s for part in (dataset.train, dataset.query, dataset.gallery) for s in part.samples}
    ordered = [samples[path] for path in sorted(samples)]
    return Crops(
        images=np.stack([preprocess.apply(decode(s.path.read_bytes()).rgb) for s in ordered]),
        person=np.array([s.person for s in ordered], np.int64),
        camera=np.array([s.camera for s in ordered], np.int64),
        modality=np.array([s.modality for s in ordered], np.int64),
        scene=np.zeros(len(ordered), np.int64),
    )


def in_grey(crops: Crops) -> Crops:
    """Turn crops to luminance and call them infrared."""
    luminance = np.rint(crops.images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return replace(
        crops,
        images=np.repeat(luminance[..., None], 3, axis=-1),
        modality=np.full(len(crops), INFRARED, np.int64),
    )


def measure(engine: Engine, exam: Exam) -> Evidence:
    """Measure an engine on everything."""
    visible, grey = embed(engine, exam.real), embed(engine, in_grey(exam.real))
    return Evidence(
        real_visible=score(visible, exam.real, visible, exam.real).mean_ap,
        real_grey=score(grey, exam.real, visible, exam.real).mean_ap,
        synthetic={name: measure_drawn(engine, crops) for name, crops in exam.synthetic.items()},
    )


def measure_drawn(engine: Engine, crops: Crops) -> Synthetic:
    """Measure an engine on drawn people of both modalities."""
    day, night = crops.of(VISIBLE), crops.of(INFRARED)
    visible, infrared = embed(engine, day), embed(engine, night)
    across = score(infrared, night, visible, day)
    return Synthetic(
        visible=score(visible, day, visible, day).mean_ap,
        infrared=score(infrared, night, infrared, night).mean_ap,
        across=across.mean_ap,
        rank1=across.rank(1),
    )


def shortfalls(start: Evidence, found: Evidence) -> list[str]:
    """Say which of the conditions a candidate misses; empty if it may be the default bundle.

    Conditions: on the real crops visible stays within a point of the start; on every hold-out visible and
    infrared do not fall below the start; on the first hold-out infrared to visible is at least twice the start's.
    """
    misses = []
    if found.real_visible < start.real_visible - KEPT_WITHIN:
        misses.append(f"real visible {found.real_visible:.4f}, the start has {start.real_visible:.4f}")
    for at, (name, before) in enumerate(start.synthetic.items()):
        after = found.synthetic[name]
        if after.visible < before.visible:
            misses.append(f"{name} visible {after.visible:.4f}, the start has {before.visible:.4f}")
        if after.infrared < before.infrared:
            misses.append(f"{name} infrared {after.infrared:.4f}, the start has {before.infrared:.4f}")
        if at == 0 and after.across < GAIN * before.across:
            misses.append(f"{name} across {after.across:.4f}, twice the start is {GAIN * before.across:.4f}")
    return misses


def embed(engine: Engine, crops: Crops) -> Float32Array:
    """Embed crops; unit rows, (N, D)."""
    parts = [slice(at, at + BATCH) for at in range(0, len(crops), BATCH)]
    return np.concatenate([engine.embed(crops.images[part], crops.modality[part]) for part in parts])


def score(asked: Float32Array, query: Crops, found: Float32Array, gallery: Crops) -> metrics.Scores:
    """Score unit rows against unit rows; no image of the asked person by the asking camera is found."""
    return metrics.scores(
        asked.astype(np.float64) @ found.astype(np.float64).T,
        Labels(query.person, query.camera),
        Labels(gallery.person, gallery.camera),
        rule="market",
    )
