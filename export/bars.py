"""How near an engine must come to the model it was made from, by its precision. Knows no engine and no images."""

from dataclasses import asdict, dataclass

# greatest mean cosine between images of different people in one modality: a model that was normalised twice gives up to
# .9999, and so may one that was hardly trained, which may be exported all the same
STRANGERS = 0.99
UNTRAINED = 0.999


@dataclass(frozen=True, slots=True)
class Bar:
    """What a candidate must reach.

    Attributes:
        cosine_min: least cosine between the two embeddings of any image, alone and in every batch.
        cosine_mean: least mean cosine over all images, for each batch size.
        map_loss: how much mean average precision may fall, in points of 100.
        map_gain: how much it may rise; None for any amount.
        company: least cosine between a candidate's embedding of an image alone and in a batch.
        strangers: greatest mean cosine between different people in one modality.
    """

    cosine_min: float
    cosine_mean: float
    map_loss: float
    map_gain: float | None = None
    company: float = 0.999
    strangers: float = STRANGERS

    def as_json(self) -> dict[str, float | None]:
        """The bar as plain values."""
        return asdict(self)


# of an exported graph against the network it was traced from: the same arithmetic in another order
EXPORTED = Bar(
    cosine_min=0.99999, cosine_mean=0.99999, map_loss=0.1, map_gain=0.1, company=0.99999, strangers=UNTRAINED
)

_HALF = Bar(cosine_min=0.999, cosine_mean=0.999, map_loss=0.1, map_gain=0.1)
# one image may be far off if all together are near and people are still found
_EIGHT_BITS = Bar(cosine_min=0.0, cosine_mean=0.985, map_loss=0.5, company=0.995)

BARS: dict[str, Bar] = {
    "fp32": Bar(cosine_min=0.9999, cosine_mean=0.9999, map_loss=0.1, map_gain=0.1, company=0.9999),
    "fp16": _HALF,
    "bf16": _HALF,
    "int8": _EIGHT_BITS,
    "fp8": _EIGHT_BITS,
}
