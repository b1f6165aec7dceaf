"""What the clients answer with, free of any wire: frozen values beside those of ``vireid.types``.

Knows no transport and no arrays; an embedding is a tuple of floats.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vireid.errors import VireidError
from vireid.types import Hit, Item, Modality


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds the server spent in each stage of one answer; zero where a stage did not happen."""

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
class Embedding:
    """One image, embedded; may be searched with in galleries of the same space.

    Attributes:
        values: a unit vector.
        space_id: the space it belongs to.
        modality: as used by the model.
        confidence: of the automatic decision, 1.0 when the caller said so.
        warnings: for example ``MODALITY_MISMATCH``.
    """

    values: tuple[float, ...]
    space_id: str
    modality: Modality
    confidence: float
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemRef:
    """An item that is in the gallery already, as a query."""

    item_id: str


@dataclass(frozen=True, slots=True)
class SearchReply:
    """Ranked hits and how they were found.

    Attributes:
        hits: best first.
        modality: of the query, as used by the model.
        confidence: of the automatic decision, 1.0 when the caller said so.
        warnings: for example ``MODALITY_MISMATCH``.
        items_total: items in the gallery.
        items_searched: those that passed the filter.
        space_id: the embedding space.
        gallery_version: the last change that was visible to the search.
        timing: seconds by stage, at the server.
        exact: none of those that passed was missed.
        centring: the gallery's version whose centres scores are relative to, 0 for none.
        items_lost: items that are missing from the gallery since it was damaged and salvaged.
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

    @property
    def degraded(self) -> bool:
        """Whether the gallery is known to lack items."""
        return self.items_lost > 0


@dataclass(frozen=True, slots=True)
class PutReply:
    """An item after it was put.

    Attributes:
        item: as stored.
        outcome: ``created``, ``replaced`` or ``unchanged``.
        timing: seconds by stage, at the server.
    """

    item: Item
    outcome: str
    timing: Timing


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a deletion removed, or would remove.

    Attributes:
        items: records.
        images: stored images.
        vectors: vectors.
        version: the gallery's version afterwards.
        dry_run: nothing was removed, only counted.
        snapshots: snapshots that went with it.
        still_in: snapshots of the gallery that still hold some of it.
    """

    items: int
    images: int
    vectors: int
    version: int
    dry_run: bool = False
    snapshots: int = 0
    still_in: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a gallery's items.

    Attributes:
        items: in the gallery's own order.
        cursor: where the next page begins, empty at the end.
    """

    items: tuple[Item, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Facets:
    """How many items there are of each.

    Attributes:
        cameras: by camera.
        modalities: by ``visible`` and ``infrared``.
        hours: by the hour of the day they were captured in, ``00`` to ``23``, UTC.
    """

    cameras: Mapping[str, int]
    modalities: Mapping[str, int]
    hours: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why one item of many was not taken.

    Attributes:
        item_id: the item, or the name of the file it would have come from.
        reason: stable, for example ``NOT_AN_IMAGE``.
        message: what was found, what was expected, what to do.
        status: of a whole job's failure, the HTTP status that its call would have had; else 0.
    """

    item_id: str
    reason: str
    message: str
    status: int = 0

    @staticmethod
    def of(item_id: str, error: VireidError) -> "ItemFailure":
        """Describe an error of one item."""
        return ItemFailure(item_id, error.stable_reason, error.message)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The report of an evaluation; the same galleries and choices give the same text.

    Attributes:
        json: as ``vireid evaluate`` writes it.
        csv: one line for each trial.
        html: with pictures, needs no network; empty where it was not asked for.
    """

    json: str
    csv: str
    html: str = ""

    @property
    def report(self) -> Mapping[str, Any]:
        """The report, read: ``protocol``, ``mean`` (``rank1``, ``mAP``, ``mINP`` ...), ``trials``, ``sources``, ``galleries``."""
        found: Mapping[str, Any] = json.loads(self.json)
        return found


@dataclass(frozen=True, slots=True)
class Job:
    """Work the server goes on with after the call.

    Attributes:
        job_id: its id.
        kind: for example ``upload``.
        state: ``queued``, ``running``, ``succeeded``, ``partial``, ``failed`` or ``cancelled``.
        done: units finished.
        total: units known, 0 while unknown.
        failed: units that were refused.
        counts: outcomes by word.
        errors: the first refusals.
        error: why the whole job failed.
        result: what it produced, once finished.
    """

    job_id: str
    kind: str
    state: str
    done: int = 0
    total: int = 0
    failed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ItemFailure, ...] = ()
    error: ItemFailure | None = None
    result: Mapping[str, object] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it will not change any more."""
        return self.state not in {"queued", "running"}
