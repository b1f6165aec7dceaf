"""What a protocol measured: trial by trial, their mean and their spread. Knows no features and no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float64Array
from vireid.errors import EvaluationError
from vireid.evaluation.metrics import Scores
from vireid.evaluation.protocol import Protocol

REPORTED_RANKS = (1, 5, 10, 20)
CURVE = 50  # ranks every CMC is kept to, where no higher one is asked for


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

    @property
    def average(self) -> "Average":
        """Its own scores, as one would average them."""
        return Average(self.scores.cmc, self.scores.mean_ap, self.scores.mean_inp)


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

    def rank(self, r: int) -> float:
        """Return the CMC at rank ``r``; beyond the last rank kept, the last value."""
        return float(self.cmc[min(r, len(self.cmc)) - 1])

    def named(self, ranks: Sequence[int]) -> dict[str, float]:
        """Return the values by name: ``rank1`` ..., ``mAP``, ``mINP``."""
        return {
            **{f"rank{r}": self.rank(r) for r in ranks},
            "mAP": float(self.mean_ap),
            "mINP": float(self.mean_inp),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a protocol measured.

    Attributes:
        protocol: how it was measured.
        synthetic: whether the images were drawn by the generator.
        trials: one by one.
        ranks: the ranks of the CMC that are reported; the curves are longer.
    """

    protocol: Protocol
    synthetic: bool
    trials: tuple[Trial, ...]
    ranks: tuple[int, ...] = REPORTED_RANKS

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
        """Return the result as JSON values; scores are fractions, hits are the CMC as counts of queries."""
        return {
            "protocol": self.protocol.to_json(),
            "synthetic": self.synthetic,
            "mean": self.mean.named(self.ranks),
            "std": self.std.named(self.ranks),
            "cmc": self.mean.cmc.tolist(),
            "trials": [
                {
                    "trial": t.number,
                    "n_query": t.scores.n_query,
                    "n_gallery": t.n_gallery,
                    "n_valid": t.scores.n_valid,
                    **t.average.named(self.ranks),
                    "hits": t.scores.hits.tolist(),
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


def merge(protocol: Protocol, results: Sequence[Result]) -> Result:
    """Put the results of several identity splits together as the trials of one.

    Args:
        protocol: names every split, in the order of ``results``.
        results: one for each split.

    Raises:
        EvaluationError: the splits are not the protocol's, or only some are synthetic.
    """
    trials = tuple(t for result in results for t in result.trials)
    found = tuple(t.number for t in trials)
    if found != protocol.trials:
        raise EvaluationError(f"found results of the splits {found}; the protocol asks for {protocol.trials}")
    synthetic = {result.synthetic for result in results}
    if len(synthetic) > 1:
        raise EvaluationError(
            "some splits are of drawn images and some are not; evaluate each kind by itself"
        )
    return Result(protocol, synthetic.pop(), trials, results[0].ranks)
