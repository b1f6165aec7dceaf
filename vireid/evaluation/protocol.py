"""The protocol as a value: every choice by name, told in words. Knows no dataset's conventions, no files, no features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vireid.errors import EvaluationError
from vireid.evaluation.metrics import CmcLevel, Rule
from vireid.types import Modality

Draw = Literal["none", "python", "python-multi-shot", "official"]
Side = Literal["query", "gallery"]
Flip = Literal["none", "average", "given"]

RULES: Mapping[Rule, str] = {
    "sysu": "camera 3 queries ignore every image of camera 2",
    "market": "a query ignores its own person's images in its own camera",
    "none": "nothing is ignored",
}
LEVELS: Mapping[CmcLevel, str] = {"identity": "ranks count persons", "image": "ranks count images"}
DRAWS: Mapping[Draw, str] = {
    "none": "nothing is drawn",
    "python": "random.seed(trial) and random.choice",
    "python-multi-shot": "random.seed(trial) and random.sample",
    "official": "rand_perm_cam.mat",
}
FLIPS: Mapping[Flip, str] = {
    "none": "each image is embedded once",
    "average": "features are averaged with those of the mirrored image",
    "given": "features are taken as given",
}


@dataclass(frozen=True, slots=True)
class Rerank:
    """Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017).

    Attributes:
        k1: neighbours that must be mutual.
        k2: neighbours a row is averaged over.
        weight: share of the original distance, 0 to 1.
        candidates: how many of the best images are re-ranked for each query; 0 means the whole gallery.

    Raises:
        EvaluationError: a number out of range.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    candidates: int = 0

    def __post_init__(self) -> None:
        if self.k1 < 1 or not 1 <= self.k2 <= self.k1:
            raise EvaluationError(
                f"re-ranking needs 1 <= k2 <= k1; found k1 {self.k1} and k2 {self.k2} (published: 20 and 6)"
            )
        if not 0 <= self.weight <= 1:
            raise EvaluationError(f"re-ranking weighs from 0 to 1, not {self.weight} (published: 0.3)")
        if self.candidates < 0:
            raise EvaluationError(
                f"re-ranking takes at least 1 candidate, or 0 for all, not {self.candidates}"
            )

    def __str__(self) -> str:
        """Tell the parameters in words."""
        which = f"the first {self.candidates}" if self.candidates else "all"
        return (
            f"{which} candidates are re-ranked by k-reciprocal neighbours "
            f"(k1 {self.k1}, k2 {self.k2}, weight {self.weight:g})"
        )


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a dataset is asked and how the answers are counted.

    Attributes:
        name: for example ``sysu-mm01/all/single``.
        dataset: the dataset it belongs to.
        mode: the search mode or direction, for example ``indoor`` or ``vis2ir_v1``.
        asks: what the queries are, in words.
        finds: what the gallery is, in words.
        query_modality: what the queries were taken with, None for any.
        gallery_modality: what the gallery was taken with, None for any.
        turned: whether the dataset's gallery images ask and its query images are found.
        query_cameras: cameras a query can be of; none means all.
        cameras: cameras of the gallery; none means all.
        draw: how a trial's images are drawn; ``none`` takes every image.
        drawn: the side that is drawn.
        shots: images drawn per person and camera.
        trials: their numbers; seeds of the python draw, rows of the official one.
        splits: RegDB: the trials are identity splits, each with its own model; how many are published.
        rule: what a query must not see.
        cmc: whether ranks count persons or images.
        flip: whether features are averaged with those of the mirrored image.
        rerank: how answers are re-ranked; None leaves them as they are.
        preset: the named protocol it started from.
        changed: the choices that depart from it, in words.
    """

    name: str
    dataset: str
    mode: str
    asks: str
    finds: str
    query_modality: Modality | None = None
    gallery_modality: Modality | None = None
    turned: bool = False
    query_cameras: tuple[int, ...] = ()
    cameras: tuple[int, ...] = ()
    draw: Draw = "none"
    drawn: Side = "gallery"
    shots: int = 1
    trials: tuple[int, ...] = (0,)
    splits: int = 0
    rule: Rule = "none"
    cmc: CmcLevel = "identity"
    flip: Flip = "none"
    rerank: Rerank | None = None
    preset: str = ""
    changed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Tell the protocol in words."""
        return f"{self.name}: " + "; ".join(self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """Every choice in words, one by one."""
        cameras = f" of cameras {', '.join(map(str, self.cameras))}" if self.cameras else ""
        changed = f", but {', '.join(self.changed)}" if self.changed else ""
        every = (
            f"{self.asks} ask, {self.finds}{cameras} are found",
            self._drawn(),
            RULES[self.rule],
            LEVELS[self.cmc],
            FLIPS[self.flip],
            str(self.rerank) if self.rerank else "nothing is re-ranked",
            f"preset {self.preset}{changed}" if self.preset else "",
        )
        return tuple(part for part in every if part)

    def _drawn(self) -> str:
        first, last = self.trials[0], self.trials[-1]
        if self.splits:
            numbers = f"splits {first} to {last}" if len(self.trials) > 1 else f"split {first}"
            return f"identity {numbers} of {self.splits}, a model for each"
        if self.draw == "none":
            return DRAWS["none"]
        numbers = f"trials {first} to {last}" if len(self.trials) > 1 else f"trial {first}"
        return f"the {self.drawn} is drawn: {self.shots} per person and camera, {DRAWS[self.draw]}, {numbers}"

    def to_json(self) -> dict[str, object]:
        """Return every choice as JSON values."""
        drawn = self.draw != "none"
        return {
            "name": self.name,
            "words": str(self),
            "preset": self.preset,
            "changed": list(self.changed),
            "dataset": self.dataset,
            "mode": self.mode,
            "draw": self.draw,
            "drawn": self.drawn if drawn else "",
            "shots": self.shots if drawn else 0,
            "trials": list(self.trials),
            "query_cameras": list(self.query_cameras),
            "cameras": list(self.cameras),
            "rule": self.rule,
            "cmc": self.cmc,
            "flip": self.flip,
            "rerank": self._rerank(),
        }

    def _rerank(self) -> dict[str, object]:
        r = self.rerank
        if r is None:
            return {"method": "none"}
        return {
            "method": "k-reciprocal",
            "k1": r.k1,
            "k2": r.k2,
            "weight": r.weight,
            "candidates": r.candidates,
        }
