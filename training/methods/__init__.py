"""The methods; the dict says which, and what each may know. They do not know one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.method import Known, Method
from training.method_settings import MethodSettings
from training.methods import otla
from training.methods.cm_emd import CmEmd
from training.methods.danet import Danet
from training.methods.dcl import Dcl
from training.methods.miot import Miot
from training.methods.mult import Mult
from training.methods.spcl import Spcl
from training.methods.supervised import Supervised
from training.models.network import Network
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.types import Modality


@dataclass(frozen=True, slots=True)
class Entry:
    """A method of the catalogue.

    Attributes:
        build: makes it over a network.
        told: the modalities whose true persons it is told under given settings; those of the others it cannot
            reach.
        source: whether it learns from a labelled source set besides, if there is one.
    """

    build: Callable[[Network, Known, Any], Method]
    told: Callable[[Any], frozenset[Modality]]
    source: bool = False


def _all(_wanted: object) -> frozenset[Modality]:
    return frozenset(Modality)


def _nobody(_wanted: object) -> frozenset[Modality]:
    return frozenset()


METHODS: dict[str, Entry] = {
    "supervised": Entry(Supervised, _all),
    "danet": Entry(Danet, _all),
    "cm-emd": Entry(CmEmd, _all),
    "otla": Entry(otla.Otla, otla.told),
    "spcl": Entry(Spcl, _nobody, source=True),
    "dcl": Entry(Dcl, _nobody),
    "miot": Entry(Miot, _nobody),
    "mult": Entry(Mult, _nobody),
}


def create(
    network: Network,
    train: Split,
    wanted: MethodSettings,
    source: Split | None = None,
    taken: Sequence[int] | None = None,
) -> Method:
    """Build a method over a network.

    Args:
        network: to be trained.
        train: its images; only what the method may know of them is handed on.
        wanted: which method, and its settings.
        source: a labelled set it learns from besides, its images after those of ``train``.
        taken: labels that an earlier stage made of the images of ``train``, -1 for none; they are told in place of
            all persons.

    Raises:
        TrainingError: there is none of that name, or it lacks what it must know.
    """
    if wanted.name not in METHODS:
        raise TrainingError(f"there is no method {wanted.name!r}; known are {', '.join(METHODS)}")
    entry = METHODS[wanted.name]
    if source is not None and not entry.source:
        raise TrainingError(f"{wanted.name} learns from no source set; leave --source out")
    told = np.isin(train.modalities, [int(each) for each in entry.told(wanted)])
    if taken is not None and (told.any() or len(taken) != len(train)):
        raise TrainingError(
            f"an earlier stage made labels of {len(taken)} images, for {wanted.name} on {len(train)}; expected one "
            f"each, and a setting that is told no true persons"
        )
    persons = np.where(told, train.persons, -1) if taken is None else np.array(taken, np.int64)
    modality, camera = train.modalities, train.cameras
    if source is not None:
        persons = np.concatenate([persons, source.persons])
        modality = np.concatenate([modality, source.modalities])
        camera = np.concatenate([camera, source.cameras])
    known = Known(persons, modality, camera, np.arange(len(persons)) >= len(train))
    return entry.build(network, known, wanted)
