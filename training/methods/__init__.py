"""The methods; the dict says which, and what each may know. They do not know one another."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.method import Known, Method
from training.methods.supervised import Supervised
from training.models.two_stream import TwoStream
from training.settings import MethodSettings
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.types import Modality


@dataclass(frozen=True, slots=True)
class Entry:
    """A method of the catalogue.

    Attributes:
        build: makes it over a network.
        told: the modalities whose true persons it is told; those of the others it cannot reach.
    """

    build: Callable[[TwoStream, Known, MethodSettings], Method]
    told: frozenset[Modality]


METHODS: dict[str, Entry] = {"supervised": Entry(Supervised, frozenset(Modality))}


def create(network: TwoStream, train: Split, wanted: MethodSettings) -> Method:
    """Build a method over a network.

    Args:
        network: to be trained.
        train: its images; only what the method may know of them is handed on.
        wanted: which method, and its settings.

    Raises:
        TrainingError: there is none of that name, or it lacks what it must know.
    """
    if wanted.name not in METHODS:
        raise TrainingError(f"there is no method {wanted.name!r}; known are {', '.join(METHODS)}")
    entry, modality = METHODS[wanted.name], train.modalities
    told = np.isin(modality, [int(each) for each in entry.told])
    return entry.build(network, Known(np.where(told, train.persons, -1), modality), wanted)
