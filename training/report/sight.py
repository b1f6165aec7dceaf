"""What a run's network makes of the dataset's test images: scores, answers, and how it sees before and after.

Knows no page and no pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training import checkpoint, features, models
from training.data.images import Images
from training.models import standard
from training.models.network import Network
from training.report import projection
from training.report.projection import Projection
from training.settings import RunSettings
from vireid import progress
from vireid.arrays import Float32Array, Int64Array
from vireid.datasets.split import Dataset, Split
from vireid.evaluation.evaluate import sides
from vireid.evaluation.evidence import Evidence, gather
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case, measure
from vireid.evaluation.protocol import Protocol
from vireid.evaluation.protocols import choose
from vireid.evaluation.result import Result
from vireid.images.preprocess import Preprocess


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """How a trained network sees.

    Attributes:
        result: the scores of the dataset's usual protocol.
        evidence: of the same.
        modality: of each image that is drawn in the plane, (N,).
        person: of each, (N,).
        before: the images as the network saw them when it was made; None where its first weights are not at hand.
        after: the same images as it sees them now.
    """

    result: Result
    evidence: Evidence
    modality: Int64Array
    person: Int64Array
    before: Projection | None
    after: Projection


def look(
    run: Path,
    settings: RunSettings,
    dataset: Dataset,
    begins: Mapping[str, Tensor] | None,
    device: torch.device,
) -> Sight:
    """Look at the test images with the network a run ends with, and with the one it began with.

    Args:
        run: its folder.
        settings: its recipe.
        dataset: with test images.
        begins: the standard weights it began with, empty for fresh ones; None where they are not at hand.
        device: where the networks run.

    Raises:
        TrainingError: the checkpoint is damaged, or the weights do not fit.
        DatasetError: an image is missing or cannot be read.
        EvaluationError: no query has a match.
    """
    network = checkpoint.load_model(run).to(device)
    found = Features(
        query=features.extract(network, _images(dataset.query, settings)),
        gallery=features.extract(network, _images(dataset.gallery, settings)),
    )
    parts: list[Evidence] = []

    def watch(case: Case, protocol: Protocol) -> None:
        with progress.bar("looking at all pairs", total=len(sides(case.dataset, protocol)[0])) as advance:
            parts.append(gather(case, protocol, advance=advance))

    protocol = choose(dataset.name, trial=dataset.trial or None)
    measured = measure(protocol, lambda _: Case(dataset, found, "none"), watch=watch)
    test = Split("test", dataset.query.samples + dataset.gallery.samples)
    drawn = projection.choose(test.persons, test.modalities, settings.seed)
    modality, person = test.modalities[drawn], test.persons[drawn]
    after = np.concatenate([found.query, found.gallery]).astype(np.float32)[drawn]
    before = None
    if begins is not None:
        some = Split("test", tuple(test.samples[place] for place in drawn.tolist()))
        before = features.extract(untrained(settings, begins).to(device), _images(some, settings))
    return Sight(
        result=measured.result,
        evidence=parts[0],
        modality=modality,
        person=person,
        before=None if before is None else _projected(before, modality),
        after=_projected(after, modality),
    )


def untrained(settings: RunSettings, begins: Mapping[str, Tensor]) -> Network:
    """Make the network as the run made it; chance elsewhere is left as it is.

    Args:
        settings: its recipe.
        begins: the standard weights it began with, empty for fresh ones.

    Raises:
        TrainingError: the weights do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = models.build(settings.model)
    if begins:
        standard.load(network, begins)
    return network


def _images(split: Split, settings: RunSettings) -> Images:
    size = Preprocess(settings.model.height, settings.model.columns)
    return Images(split, size, settings.data.cache_mb)


def _projected(vectors: Float32Array, modality: Int64Array) -> Projection:
    with progress.bar("laying out the plane", total=1) as advance:
        made = projection.project(vectors, modality)
        advance(1)
    return made
