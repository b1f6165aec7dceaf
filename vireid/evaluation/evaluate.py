"""Features of a dataset in, a protocol's scores out: one for each trial, their mean and spread.

Knows no model and no image. Similarity is the inner product in float64: the cosine, for unit vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float64Array, Int64Array
from vireid.datasets import sysu
from vireid.datasets.split import Dataset
from vireid.errors import EvaluationError
from vireid.evaluation import draws
from vireid.evaluation.features import Features
from vireid.evaluation.metrics import Labels, QueryScores, Scores, score_queries, summarise
from vireid.evaluation.protocols import Protocol

REPORTED_RANKS = (1, 5, 10, 20)
_BLOCK = 4_000_000  # similarities held at once, 32 MB


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One trial.

    Attributes:
        number: its number in the protocol.
        n_gallery: images in its gallery.
        scores: what it scored.
    """

    number: int
    n_gallery: int
    scores: Scores


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """A statistic over the trials, as fractions.

    Attributes:
        cmc: at ranks 1..R, (R,).
        mean_ap: of the mean average precision.
        mean_inp: of the mean inverse negative penalty.
    """

    cmc: Float64Array
    mean_ap: float
    mean_inp: float


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a protocol measured.

    Attributes:
        protocol: how it was measured.
        synthetic: whether the images were drawn by the generator.
        trials: one by one.
    """

    protocol: Protocol
    synthetic: bool
    trials: tuple[Trial, ...]

    @property
    def mean(self) -> Average:
        """Plain mean of the trials."""
        return Average(*(values.mean(axis=0) for values in self._values()))

    @property
    def std(self) -> Average:
        """Standard deviation of a single trial (n - 1), 0 where there is one trial."""
        ddof = min(1, len(self.trials) - 1)
        return Average(*(values.std(axis=0, ddof=ddof) for values in self._values()))

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON values; scores are fractions."""
        p = self.protocol
        return {
            "protocol": {
                "name": p.name,
                "words": str(p),
                "dataset": p.dataset,
                "draw": p.draw,
                "drawn": p.drawn if p.draw != "none" else "",
                "shots": p.shots if p.draw != "none" else 0,
                "cameras": list(p.cameras),
                "rule": p.rule,
                "cmc": p.cmc,
            },
            "synthetic": self.synthetic,
            "mean": _named(self.mean),
            "std": _named(self.std),
            "trials": [
                {
                    "trial": t.number,
                    "n_query": t.scores.n_query,
                    "n_gallery": t.n_gallery,
                    "n_valid": t.scores.n_valid,
                    **_named(Average(t.scores.cmc, t.scores.mean_ap, t.scores.mean_inp)),
                }
                for t in self.trials
            ],
        }

    def _values(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        scores = [t.scores for t in self.trials]
        return (
            np.array([s.cmc for s in scores]),
            np.array([s.mean_ap for s in scores]),
            np.array([s.mean_inp for s in scores]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which rows ask and which are found in a trial.

    Attributes:
        number: the trial.
        query: rows of the split that asks, (q,).
        gallery: rows of the split that is found, in drawn order, (g,).
    """

    number: int
    query: Int64Array
    gallery: Int64Array


def evaluate(features: Features, dataset: Dataset, protocol: Protocol) -> Result:
    """Measure features under a protocol.

    Args:
        features: vectors of the dataset's query and gallery splits.
        dataset: where they come from.
        protocol: how they are asked and counted.

    Raises:
        EvaluationError: the protocol belongs to another dataset or split, features do not fit or are not
            finite, or no query has a match.
        DatasetError: the official draw's file is missing or does not fit.
    """
    plans = plan(dataset, protocol)
    _check(features, dataset)
    query, gallery = _sides(dataset, protocol)
    q, g = features.query.astype(np.float64), features.gallery.astype(np.float64)
    if protocol.turned:
        q, g = g, q
    asked = np.unique(np.concatenate([p.query for p in plans]))
    outcome = [QueryScores.empty(len(query)) for _ in plans]
    step = max(1, _BLOCK // max(1, len(gallery)))
    for begin in range(0, len(asked), step):
        rows = asked[begin : begin + step]
        similarity = q[rows] @ g.T
        for p, scored in zip(plans, outcome, strict=True):
            mine = np.isin(rows, p.query)
            scored.put(
                rows[mine],
                score_queries(
                    similarity[mine][:, p.gallery],
                    query.take(rows[mine]),
                    gallery.take(p.gallery),
                    protocol.rule,
                    protocol.cmc,
                ),
            )
    trials = tuple(
        Trial(p.number, len(p.gallery), summarise(scored.take(p.query)))
        for p, scored in zip(plans, outcome, strict=True)
    )
    return Result(protocol, dataset.synthetic, trials)


def plan(dataset: Dataset, protocol: Protocol) -> Sequence[Plan]:
    """Choose who asks and who is found in each trial; needs no features, so what cannot be drawn is told early.

    Raises:
        EvaluationError: the protocol belongs to another dataset or split, or asks for more shots than there are.
        DatasetError: the official draw's file is missing or does not fit.
    """
    _check_protocol(dataset, protocol)
    query, gallery = _sides(dataset, protocol)
    every_query, every_gallery = np.arange(len(query)), np.arange(len(gallery))
    if protocol.cameras:
        every_gallery = np.flatnonzero(np.isin(gallery.camera, np.array(protocol.cameras)))
    if protocol.draw == "none":
        return [Plan(number, every_query, every_gallery) for number in protocol.trials]
    pool = query if protocol.drawn == "query" else gallery
    grouped = draws.groups(pool, protocol.cameras if protocol.drawn == "gallery" else ())
    if protocol.draw == "official":
        orders = sysu.permutations(dataset.root)
        drawn = [draws.official_draw(grouped, orders, t, protocol.shots) for t in protocol.trials]
    else:
        drawn = [draws.python_draw(grouped, t, protocol.shots) for t in protocol.trials]
    return [
        Plan(number, rows, every_gallery) if protocol.drawn == "query" else Plan(number, every_query, rows)
        for number, rows in zip(protocol.trials, drawn, strict=True)
    ]


def _sides(dataset: Dataset, protocol: Protocol) -> tuple[Labels, Labels]:
    """Return the labels of the split that asks and of the split that is found."""
    query, gallery = (Labels(s.persons, s.cameras) for s in (dataset.query, dataset.gallery))
    return (gallery, query) if protocol.turned else (query, gallery)


def _check_protocol(dataset: Dataset, protocol: Protocol) -> None:
    if dataset.name != protocol.dataset:
        raise EvaluationError(
            f"the protocol {protocol.name} is for {protocol.dataset}, not for {dataset.name}"
        )
    if dataset.trial and protocol.trials != (dataset.trial,):
        raise EvaluationError(
            f"the dataset was read at identity split {dataset.trial}, the protocol asks for "
            f"{', '.join(map(str, protocol.trials))}; open the dataset at the protocol's split"
        )


def _check(features: Features, dataset: Dataset) -> None:
    for split, vectors in ((dataset.query, features.query), (dataset.gallery, features.gallery)):
        if vectors.ndim != 2 or len(vectors) != len(split):
            raise EvaluationError(
                f"{split.name} features are {vectors.shape}; {len(split)} images need ({len(split)}, D)"
            )
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise EvaluationError(
                f"{split.name} features hold NaN or infinity, first for {split.samples[row].path}"
            )
    if features.query.shape[1] != features.gallery.shape[1]:
        raise EvaluationError(
            f"query features have {features.query.shape[1]} dimensions, gallery features "
            f"{features.gallery.shape[1]}; extract both with one model"
        )


def _named(average: Average) -> dict[str, float]:
    ranks = {f"rank{r}": float(average.cmc[r - 1]) for r in REPORTED_RANKS}
    return {**ranks, "mAP": float(average.mean_ap), "mINP": float(average.mean_inp)}
