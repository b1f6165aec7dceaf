"""Features of people nobody photographed: rows that fall into clusters as those of a half-trained network do."""

from dataclasses import dataclass

import numpy as np

DIM = 2048
PEOPLE = 395
CLUSTERS = (
    2.3,
    1.15,
)  # a person, of visible and of infrared images: what clustering makes of four and of two cameras
MODALITY, PERSON, CAMERA = 0.8, 0.6, 0.9  # how far each moves a row, of the length of what a person is
NOISE = (1.0, 2.5)  # of an image, from plain to hard


@dataclass(frozen=True)
class Planted:
    """Features with known persons.

    Args:
        features: unit rows, visible ones first, (N, 2048).
        modality: 0 visible, 1 infrared, (N,).
        persons: (N,).
    """

    features: np.ndarray
    modality: np.ndarray
    persons: np.ndarray


def plant(visible: int, infrared: int, people: int = PEOPLE) -> Planted:
    """Draw features of two modalities, always the same ones.

    Args:
        visible: images.
        infrared: images.
        people: on them, all in both modalities.
    """
    random = np.random.default_rng(0)

    def rows(count: int) -> np.ndarray:
        drawn: np.ndarray = random.standard_normal((count, DIM), dtype=np.float32) / np.float32(np.sqrt(DIM))
        return drawn

    looks, made, persons = rows(people), [], []
    for count, clusters in zip((visible, infrared), CLUSTERS, strict=True):
        groups = round(people * clusters)
        whose = np.concatenate([np.arange(people), random.integers(0, people, groups - people)])
        centres = looks[whose] + MODALITY * rows(1) + PERSON * rows(people)[whose] + CAMERA * rows(groups)
        at = random.integers(0, groups, count)
        found = centres[at] + random.uniform(*NOISE, (count, 1)).astype(np.float32) * rows(count)
        made.append(found / np.linalg.norm(found, axis=1, keepdims=True))
        persons.append(whose[at])
    return Planted(
        np.concatenate(made), np.repeat([0, 1], [visible, infrared]).astype(np.int64), np.concatenate(persons)
    )
