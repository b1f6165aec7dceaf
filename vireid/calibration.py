"""What a score means: the probability of a hit, and the score that keeps false alarms to a chosen rate.

A value that is carried by a bundle, one part for each pair of modalities. Knows neither how it was fitted nor a gallery.

Probability is that of a hit on a list: of the hits among the first ten that score so, how many show the person asked
for, where that person is in the gallery. A false alarm is a search for somebody who is not in the gallery and that
still answers with a hit at or above the threshold. Both depend on how many images are searched, so both take that
number; without it they are of galleries as large as those they were measured on.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vireid.arrays import Float32Array, Float64Array
from vireid.errors import FailedPrecondition, InvalidRequest
from vireid.types import Modality

Word = Literal["visible", "infrared"]
Score = Annotated[float, Field(ge=-1.001, le=1.001, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Count = Annotated[float, Field(ge=1, allow_inf_nan=False)]

NOT_CALIBRATED = "NOT_CALIBRATED"
SMALLEST = 0.25  # share of the measured galleries; a smaller one counts as that, for it is likely not to hold the person


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class PairCalibration(_Value):
    """One pair of modalities.

    Attributes:
        query: modality of the image that asks.
        gallery: modality of the images that are found.
        images: images of that modality in the galleries it was measured on, on average.
        people: how many people they show, on average.
        hits: the length of the lists it was measured on.
        scores: knots of the curve, rising.
        probabilities: at the knots, never falling; straight lines between, level beyond.
        rates: false-alarm rates, rising; the smallest that could be measured comes first.
        thresholds: the score that keeps to each rate, never rising.
        reliability: how well it held for people it was not fitted on.
    """

    query: Word
    gallery: Word
    images: Count
    people: Count
    hits: int = Field(ge=1)
    scores: tuple[Score, ...] = Field(min_length=2)
    probabilities: tuple[Probability, ...]
    rates: tuple[Rate, ...] = Field(min_length=1)
    thresholds: tuple[Score, ...]
    reliability: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        if len(self.scores) != len(self.probabilities) or len(self.rates) != len(self.thresholds):
            raise ValueError("scores and probabilities, rates and thresholds come in equal numbers")
        if any(b <= a for a, b in pairwise(self.scores)):
            raise ValueError("scores must rise from knot to knot")
        if any(b < a for a, b in pairwise(self.probabilities)):
            raise ValueError("probabilities must not fall with the score")
        if any(b <= a for a, b in pairwise(self.rates)):
            raise ValueError("rates must rise")
        if any(b > a for a, b in pairwise(self.thresholds)):
            raise ValueError("thresholds must not rise with the rate")
        return self

    def __str__(self) -> str:
        """Tell the pair in words."""
        return (
            f"{self.query} finds {self.gallery}: measured on galleries of {self.images:.0f} images of {self.people:.0f} "
            f"people; probability {self.probabilities[0]:.3f} at a score of {self.scores[0]:.3f} to "
            f"{self.probabilities[-1]:.3f} at {self.scores[-1]:.3f}; false alarms "
            + ", ".join(f"{100 * r:g} % at {t:.3f}" for r, t in zip(self.rates, self.thresholds, strict=True))
        )

    def probability(self, scores: Float32Array | Float64Array, images: float | None = None) -> Float64Array:
        """Return the probability of hits of this pair; see ``Calibration.probability``."""
        if not np.isfinite(scores).all():
            raise InvalidRequest(
                "found NaN or infinity among the scores; they have no probability", field="score"
            )
        found: Float64Array = np.interp(scores, self.scores, self.probabilities)
        ratio = self.images / self._searched(images)
        return found * ratio / (found * ratio + (1 - found)) if ratio != 1 else found

    def threshold(self, false_alarm_rate: float, images: float | None = None) -> float:
        """Return the score that keeps false alarms of this pair to a rate; see ``Calibration.threshold``."""
        many = self._searched(images)
        if not 0 < false_alarm_rate < 1:
            raise InvalidRequest(
                f"a false-alarm rate is above 0 and below 1, not {false_alarm_rate}", field="false_alarm_rate"
            )
        rate = float(-np.expm1(np.log1p(-false_alarm_rate) * self.images / many))
        least, most = self.rates[0], self.rates[-1]
        if not least * (1 - 1e-9) <= rate <= most * (1 + 1e-9):
            low, high = (float(-np.expm1(np.log1p(-r) * many / self.images)) for r in (least, most))
            raise InvalidRequest(
                f"a false-alarm rate of {false_alarm_rate:g} among {many:.0f} {self.gallery} images was not measured; this "
                f"bundle's calibration allows {low:.3g} to {high:.3g}: choose one of these, or calibrate on more people",
                field="false_alarm_rate",
            )
        return float(np.interp(np.log(rate), np.log(self.rates), self.thresholds))

    def _searched(self, images: float | None) -> float:
        if images is None:
            return self.images
        if not (np.isfinite(images) and images >= 1):
            raise InvalidRequest(f"a searched gallery has at least 1 image, not {images}", field="images")
        return max(float(images), SMALLEST * self.images)


class Calibration(_Value):
    """Scores of one bundle, calibrated.

    Attributes:
        pairs: each pair of modalities that could be measured, at most once.
        source: what it was fitted on, as JSON values.
    """

    pairs: tuple[PairCalibration, ...] = Field(min_length=1, max_length=4)
    source: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({(p.query, p.gallery) for p in self.pairs}) != len(self.pairs):
            raise ValueError("a pair of modalities stands there twice")
        return self

    def __str__(self) -> str:
        """Tell the calibration in words, a line for each pair."""
        return "\n".join(map(str, self.pairs))

    def has(self, query_modality: Modality, gallery_modality: Modality) -> bool:
        """Whether a pair of modalities is calibrated."""
        return any((p.query, p.gallery) == (query_modality.word, gallery_modality.word) for p in self.pairs)

    def pair(self, query_modality: Modality, gallery_modality: Modality) -> PairCalibration:
        """Return a pair of modalities.

        Raises:
            FailedPrecondition: it is not calibrated (reason ``NOT_CALIBRATED``).
        """
        for p in self.pairs:
            if (p.query, p.gallery) == (query_modality.word, gallery_modality.word):
                return p
        there = ", ".join(f"{p.query} finds {p.gallery}" for p in self.pairs)
        raise FailedPrecondition(
            f"scores of {query_modality.word} queries against {gallery_modality.word} images are not calibrated in this "
            f"bundle (there is: {there}); ask by score, or calibrate the bundle with 'vireid evaluate calibrate'",
            reason=NOT_CALIBRATED,
        )

    def probability(
        self,
        scores: Float32Array | Float64Array,
        query_modality: Modality,
        gallery_modality: Modality,
        images: float | None = None,
    ) -> Float64Array:
        """Return how likely hits of these scores show the person asked for, if that person is there at all.

        In a larger gallery as many more strangers reach a score, so the odds fall by the ratio of the sizes. In a smaller
        one they rise, down to a quarter of the size: below, nobody knows whether the person is there.

        Args:
            scores: cosines of hits, any shape.
            query_modality: of the image that asks.
            gallery_modality: of the hits.
            images: how many images of that modality were searched; None for as many as in the calibration.

        Returns:
            Probabilities in the shape of ``scores``.

        Raises:
            FailedPrecondition: the pair is not calibrated.
            InvalidRequest: a score is not finite, or ``images`` is below 1.
        """
        return self.pair(query_modality, gallery_modality).probability(scores, images)

    def threshold(
        self,
        false_alarm_rate: float,
        query_modality: Modality,
        gallery_modality: Modality,
        images: float | None = None,
    ) -> float:
        """Return the score below which hits are left out, so that false alarms keep to a rate.

        A larger gallery counts as several of the calibration's size that would all have to stay silent, a smaller one as a part
        of one. They are asked with the same image and so speak up together more than that says: there are rather
        fewer false alarms than asked for in a larger gallery, and rather more in a smaller one.

        Args:
            false_alarm_rate: share of the searches for people who are not there that may still answer.
            query_modality: of the image that asks.
            gallery_modality: of the images searched.
            images: how many images of that modality are searched; None for as many as in the calibration.

        Raises:
            FailedPrecondition: the pair is not calibrated.
            InvalidRequest: the rate is outside what was measured, or ``images`` is below 1.
        """
        return self.pair(query_modality, gallery_modality).threshold(false_alarm_rate, images)
