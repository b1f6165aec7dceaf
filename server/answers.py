"""What the service is asked and what it answers, free of any transport."""

from dataclasses import dataclass, field
from typing import Literal

from vireid.arrays import Float32Array
from vireid.evaluation.protocol import Rerank
from vireid.types import Filter, Hit, Item, Modality


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """An encoded image, and what the caller says it was taken with.

    Attributes:
        data: encoded JPEG, PNG or WebP.
        modality: visible or infrared, or None to let the server decide.
    """

    data: bytes
    modality: Modality | None = None


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """An item that is already in the gallery."""

    item_id: str


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """An embedding computed before, of the same space.

    Attributes:
        vector: (D,), finite.
        space_id: the space it belongs to.
        modality: what it was taken with.
    """

    vector: Float32Array
    space_id: str
    modality: Modality


Query = ImageQuery | ItemQuery | VectorQuery


@dataclass(frozen=True, slots=True)
class Together:
    """More queries that show the person of the first.

    Attributes:
        queries: the others.
        weights: of the first and of each of the others in their mean; empty for equal ones.
        by: ``mean`` searches with their mean, ``best`` counts for each item its best score with any of them.
    """

    queries: tuple[Query, ...]
    weights: tuple[float, ...] = ()
    by: Literal["mean", "best"] = "mean"


# the parts of an answer's time, in order; each is a ``_s`` of ``Timing``
STAGES = ("queue", "decode", "infer", "search", "rerank", "total")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search.

    Attributes:
        gallery: gallery name.
        query: what to look for.
        top_k: how many hits at most, 1 to 1000.
        min_score: hits below this cosine are left out.
        min_probability: hits less likely than this are left out; the bundle must be calibrated.
        rerank: put the best candidates into a new order; None keeps that of the scores.
        filter: which items may be hit.
        timeout_s: seconds until the caller gives up, None for the server's own limit.
        one_per_person: of each person the best hit only; items of nobody stand for themselves.
        exclude_own_camera: leave out what the camera of the asking item took.
        more_like: items of the gallery that the query moves towards.
        less_like: items that it moves away from, and that are left out.
        together: more queries that show the same person; None for the one alone.
        other_modality_first: items of the query's own modality come after all others.
    """

    gallery: str
    query: Query
    top_k: int = 10
    min_score: float | None = None
    min_probability: float | None = None
    rerank: Rerank | None = None
    filter: Filter = field(default_factory=Filter)
    timeout_s: float | None = None
    one_per_person: bool = False
    exclude_own_camera: bool = False
    more_like: tuple[str, ...] = ()
    less_like: tuple[str, ...] = ()
    together: Together | None = None
    other_modality_first: bool = False

    @property
    def is_moved(self) -> bool:
        """Whether it is not one query as it came that is searched with."""
        return bool(self.more_like or self.less_like or self.together)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds spent in each stage of one answer."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    search_s: float = 0.0
    rerank_s: float = 0.0
    total_s: float = 0.0
    batch_size: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the caller should know although the call succeeded."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """One image, embedded.

    Attributes:
        vector: unit row, (D,).
        modality: as used by the model.
        confidence: of the automatic decision, 1.0 when the caller said so.
        warnings: for example ``MODALITY_MISMATCH``.
        timing: seconds by stage.
    """

    vector: Float32Array
    modality: Modality
    confidence: float
    warnings: tuple[Warned, ...] = ()
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Ranked hits and how they were found.

    Where ``exact`` is false somebody may have been missed; where ``items_lost`` is not 0, so many items are missing since the
    damaged gallery was salvaged. ``centring`` is the gallery's version that brought the centres
    which scores are relative to, 0 without centres.
    """

    hits: tuple[Hit, ...]
    modality: Modality
    confidence: float
    warnings: tuple[Warned, ...]
    items_total: int
    items_searched: int
    space_id: str
    gallery_version: int
    timing: Timing
    exact: bool = True
    centring: int = 0
    items_lost: int = 0


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """An item after it was put.

    Attributes:
        item: as stored.
        outcome: ``created``, ``replaced`` or ``unchanged``.
        timing: seconds by stage.
    """

    item: Item
    outcome: str
    timing: Timing
