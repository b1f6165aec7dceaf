"""The bundle that comes with vireid: how it is made, measured and allowed.

A published visible network is kept as it is, an infrared side is taught on drawn people, each modality is centred
on its own mean; the result is measured beside its start and is written only if it meets the conditions in
``export.evidence``. Knows no command line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import evidence, to_onnx
from export.evidence import Evidence, Exam
from export.parity import Probes
from export.to_onnx import Description
from export.torch_engine import TorchEngine
from training import bridge
from training.bridge import BridgeSettings, Crops
from training.models.bridged import BridgedNet
from training.models.openvino_ir import OpenVinoNet
from vireid.datasets import Dataset
from vireid.errors import ExportError
from vireid.images.preprocess import Preprocess

NAME = "vireid-default"
START = "person-reidentification-retail-0287"
WATCHED_PEOPLE = 40  # of those drawn for training, set aside to choose the weights by
NOTICE = (
    "The visible network is person-reidentification-retail-0287 of the Open Model Zoo "
    "(https://github.com/openvinotoolkit/open_model_zoo), Copyright (c) Intel Corporation, licensed under the "
    "Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0). It was changed: its input takes "
    "RGB, per-modality centres and an infrared side trained by the vireid developers on drawn people were added, "
    "and it was exported to ONNX."
)


@dataclass(frozen=True, slots=True)
class Materials:
    """What the default bundle is made from.

    Attributes:
        weights: the folder of the start's ``.xml`` and ``.bin``.
        train: drawn datasets, of every person of which is learned.
        exam: what the engines are measured on; none of its people may be in ``train``.
    """

    weights: Path
    train: tuple[Dataset, ...]
    exam: Exam


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with what was measured of it and of its start.

    Attributes:
        net: the network.
        settings: how it was taught; None if it was only centred.
        start: what its start measures.
        found: what it measures itself.
    """

    net: BridgedNet
    settings: BridgeSettings | None
    start: Evidence
    found: Evidence


def load_start(weights: Path, rank: int = 0) -> BridgedNet:
    """Read the start: one network for both modalities, nothing centred."""
    return BridgedNet(OpenVinoNet(weights / f"{START}.xml", drop_channel_reversal=True), rank).eval()


def preprocess() -> Preprocess:
    """How the start wants its images."""
    return Preprocess(256, 128)


def gather(datasets: Sequence[Dataset]) -> Crops:
    """Read datasets into one set of crops; people and cameras of different datasets stay different."""
    parts, people, cameras = [], 0, 0
    for dataset in datasets:
        crops = evidence.read_drawn(dataset, preprocess())
        parts.append(Crops(crops.images, crops.person + people, crops.camera + cameras, crops.modality))
        people += int(crops.person.max()) + 1
        cameras += int(crops.camera.max()) + 1
    return Crops(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.person for part in parts]),
        np.concatenate([part.camera for part in parts]),
        np.concatenate([part.modality for part in parts]),
    )


def centred(materials: Materials) -> Candidate:
    """Centre the start on each modality's mean, without labels and without teaching."""
    net = load_start(materials.weights)
    before = evidence.measure(TorchEngine(net), materials.exam)
    bridge.centre(net, gather(materials.train))
    return Candidate(net, None, before, evidence.measure(TorchEngine(net), materials.exam))


def taught(
    materials: Materials,
    settings: BridgeSettings,
    rank: int,
    tell: Callable[[int, evidence.Synthetic], None] = lambda _step, _found: None,
) -> Candidate:
    """Grow an infrared side onto the start and teach it; its centres are put last.

    Args:
        materials: to learn from and to be measured on.
        settings: how it is taught.
        rank: of the adapters.
        tell: called with the step and what the people set aside say.
    """
    before = evidence.measure(TorchEngine(load_start(materials.weights)), materials.exam)
    net = load_start(materials.weights, rank)
    learned, watched = _set_aside(gather(materials.train), WATCHED_PEOPLE, settings.seed)
    bridge.centre(net, learned)

    def watch(step: int, model: BridgedNet) -> float:
        found = evidence.measure_drawn(TorchEngine(model), watched)
        tell(step, found)
        return found.across

    bridge.fit(net, learned, settings, watch)
    bridge.centre(net, learned)
    return Candidate(net, settings, before, evidence.measure(TorchEngine(net), materials.exam))


def write(candidate: Candidate, materials: Materials, provenance: Mapping[str, Any], out: Path) -> Path:
    """Write a candidate as a bundle, if it may be the default.

    Raises:
        ExportError: it misses a condition, or its export fails.
    """
    misses = evidence.shortfalls(candidate.start, candidate.found)
    if misses:
        raise ExportError("the candidate may not be the default bundle: " + "; ".join(misses))
    return to_onnx.export(
        candidate.net, describe(candidate, materials, provenance), out, probes=_probes(materials)
    )


def describe(candidate: Candidate, materials: Materials, provenance: Mapping[str, Any]) -> Description:
    """Say what the bundle is, whence it comes and what it measures."""
    return Description(
        name=NAME,
        method="centred start" if candidate.settings is None else "bridged",
        provenance={
            "start": f"Open Model Zoo {START}, Apache-2.0, trained on visible images only",
            "dataset": [
                {"name": dataset.name, "synthetic": dataset.synthetic, "images": len(dataset.train)}
                for dataset in materials.train
            ],
            "recipe": {} if candidate.settings is None else asdict(candidate.settings),
            "seed": None if candidate.settings is None else candidate.settings.seed,
            **provenance,
        },
        metrics={"bundle": candidate.found.as_json(), "start": candidate.start.as_json()},
        notice=NOTICE,
    )


def _set_aside(crops: Crops, people: int, seed: int) -> tuple[Crops, Crops]:
    """Split crops by person into those learned from and those watched."""
    chosen = np.random.default_rng(seed).choice(np.unique(crops.person), people, replace=False)
    aside = np.isin(crops.person, chosen)
    learned, watched = (
        Crops(crops.images[rows], crops.person[rows], crops.camera[rows], crops.modality[rows])
        for rows in (~aside, aside)
    )
    return learned, watched


def _probes(materials: Materials) -> Probes:
    """Images for parity: real ones by day and in grey, drawn ones of both modalities."""
    real = materials.exam.real
    grey = evidence.in_grey(real)
    drawn = next(iter(materials.exam.synthetic.values()))
    day, night = drawn.of(bridge.VISIBLE), drawn.of(bridge.INFRARED)
    parts = [(real, 0), (grey, 5), (day, 0), (night, 0)]
    rows = [(part, int(at)) for part, first in parts for at in np.linspace(first, len(part) - 1, 8)]
    return Probes(
        np.stack([part.images[at] for part, at in rows]),
        np.array([part.modality[at] for part, at in rows], np.int64),
    )
