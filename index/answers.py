"""What a gallery answers with. Frozen values; know no storage and no search."""

from dataclasses import dataclass

from index.centres import Centres
from vireid.arrays import Float32Array, Int64Array
from vireid.types import Hit


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query row.

    Attributes:
        hits: best first.
        items_total: items in the gallery.
        items_searched: items that pass the filter; an exact backend has compared them all.
        version: the gallery's version that was searched.
        vectors: the hits' embeddings, (K, D); None unless asked for.
        searched_by: the items searched by modality, (2,); None unless asked for.
        centring: the number of the centres by which all this is centred, 0 for none.
        lost: items that are missing since the damaged gallery was salvaged.
    """

    hits: tuple[Hit, ...]
    items_total: int
    items_searched: int
    version: int
    vectors: Float32Array | None = None
    searched_by: Int64Array | None = None
    centring: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a removal took away, or would take.

    Attributes:
        items: records.
        images: encoded images kept with them.
        vectors: embeddings.
        version: the gallery's, afterwards.
        snapshots: snapshots removed with it.
        still_in: snapshots of the gallery that still hold some of it, and damaged files that may.
    """

    items: int
    images: int
    vectors: int
    version: int
    snapshots: int = 0
    still_in: int = 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """Every item that has a person, for evaluation.

    Attributes:
        item_ids: N ids.
        persons: N names.
        cameras: N names.
        modalities: (N,).
        vectors: unit rows, (N, D).
        version: of the gallery they were read from.
        centres: what the gallery's vectors are centred by when they are searched; None leaves them as they are here.
    """

    item_ids: tuple[str, ...]
    persons: tuple[str, ...]
    cameras: tuple[str, ...]
    modalities: Int64Array
    vectors: Float32Array
    version: int
    centres: Centres | None = None
