"""The bundle that comes with vireid: how it is made, measured and allowed.

A published visible network is kept as it is, an infrared side is taught on drawn people, each modality is centred
on its own mean; the result is measured beside its start and is written only if it meets the conditions in
``export.evidence``. Knows no command line.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import evidence, to_onnx
from export.evidence import Evidence, Exam
from export.parity import Probes
from export.to_onnx import Description
from training import bridge
from training.bridge import BridgeSettings, Crops
from training.models.bridged import BridgedNet
from training.models.openvino_ir import OpenVinoNet
from vireid.datasets import SYNTHETIC_MARKER, Dataset
from vireid.engines import Engine
from vireid.errors import ExportError
from vireid.images.preprocess import Preprocess

NAME = "vireid-default"
START = "person-reidentification-retail-0287"
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
        watch: a drawn dataset by which the best weights of a run are chosen.
        exam: what the engines are measured on; nothing of it may be in ``train`` or ``watch``.
    """

    weights: Path
    train: tuple[Dataset, ...]
    watch: Dataset
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
    """Read datasets into one set of crops, one scene each; their people and cameras stay different."""
    parts, people, cameras = [], 0, 0
    for scene, dataset in enumerate(datasets):
        crops = evidence.read_drawn(dataset, preprocess())
        parts.append(
            replace(
                crops,
                person=crops.person + people,
                camera=crops.camera + cameras,
                scene=np.full(len(crops), scene, np.int64),
            )
        )
        people, cameras = int(parts[-1].person.max()) + 1, int(parts[-1].camera.max()) + 1
    return Crops(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("images", "person", "camera", "modality", "scene")
        )
    )


def make(
    materials: Materials,
    settings: BridgeSettings | None,
    tell: Callable[[int, float], None] = lambda _step, _score: None,
) -> Candidate:
    """Make a candidate: centre the start or, given settings, grow an infrared side onto it and teach it.

    Args:
        materials: to learn from and to be measured on.
        settings: how the infrared side is taught; None only centres, which needs no labels.
        tell: called with the step and the score on the watched dataset.
    """
    start = _engine(load_start(materials.weights))
    before = evidence.measure(start, materials.exam)
    learned = gather(materials.train)
    rows = torch.from_numpy(evidence.embed(start, learned))
    net = load_start(materials.weights, settings.rank if settings else 0)
    bridge.centre(net, rows, learned.modality)
    if settings:
        bridge.fit(net, learned, rows, settings, _watch(net, start, gather([materials.watch]), tell))
        bridge.soften(net, settings.strength)
        net.centres.zero_()
        infrared = torch.from_numpy(learned.modality == bridge.INFRARED)
        night = evidence.embed(_engine(net), learned.of(bridge.INFRARED))
        rows = rows.index_put((infrared,), torch.from_numpy(night))
        bridge.centre(net, rows, learned.modality)
    return Candidate(net, settings, before, evidence.measure(_engine(net), materials.exam))


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
                json.loads((dataset.root / SYNTHETIC_MARKER).read_text()) for dataset in materials.train
            ],
            "recipe": {} if candidate.settings is None else asdict(candidate.settings),
            "seed": None if candidate.settings is None else candidate.settings.seed,
            **provenance,
        },
        metrics={"bundle": candidate.found.as_json(), "start": candidate.start.as_json()},
        notice=NOTICE,
    )


def _engine(net: BridgedNet) -> Engine:
    """The network as it will be served: several times faster than torch."""
    return to_onnx.open_graph(net, to_onnx.to_graph(net), Description(NAME, "trial"), threads=2)


def _watch(
    net: BridgedNet, start: Engine, watched: Crops, tell: Callable[[int, float], None]
) -> Callable[[int, BridgedNet], float]:
    """Score infrared to visible on watched people; their visible rows never change."""
    day, night = watched.of(bridge.VISIBLE), watched.of(bridge.INFRARED)
    visible = torch.from_numpy(evidence.embed(start, day)) - net.centres[bridge.VISIBLE]
    visible_rows = torch.nn.functional.normalize(visible).numpy()

    def score(step: int, taught: BridgedNet) -> float:
        found = evidence.score(bridge.embed(taught, night).numpy(), night, visible_rows, day).mean_ap
        tell(step, found)
        return found

    return score


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
