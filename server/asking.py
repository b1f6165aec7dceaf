"""What a search asks for, worked out before the gallery is asked: its vector, and which items it leaves out.

Knows no transport, and of galleries only how to read an item.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from index.answers import Found
from index.centres import Centres, applied
from index.gallery import Gallery
from index.limits import check_embeddings
from server import ranking
from server.answers import ItemQuery, SearchRequest, Together, VectorQuery
from vireid.arrays import Float32Array, Float64Array
from vireid.errors import GalleryMismatch, InvalidRequest
from vireid.types import Filter, Modality

MOST_EXAMPLES, MOST_TOGETHER = 64, 16
LEAST_NORM = 1e-3
# Rocchio, "Relevance feedback in information retrieval", 1971, with the weights that have become usual
LIKED, DISLIKED = 0.75, 0.15


def own_vector(query: VectorQuery, space_id: str, dim: int, place: str) -> Float32Array:
    """Return an embedding that was computed before.

    Args:
        query: holds it.
        space_id: of the bundle in use.
        dim: of its embeddings.
        place: where the query stands in the request, for errors.

    Raises:
        GalleryMismatch: it is of another space.
        InvalidRequest: it is no unit vector of so many numbers.
        EmbeddingNotFinite: NaN or infinity in it.
    """
    if query.space_id != space_id:
        raise GalleryMismatch(
            f"the embedding is of space {query.space_id[:12]!r}..., this server's bundle makes "
            f"{space_id[:12]!r}...; embed the image here",
            metadata={"found": query.space_id, "expected": space_id},
        )
    check_embeddings(query.vector[None], dim, f"{place}.embedding")
    return query.vector


def check(request: SearchRequest) -> None:
    """Refuse examples and queries together that are too many or do not fit together.

    Raises:
        InvalidRequest: they are.
    """
    for name in ("more_like", "less_like"):
        if len(getattr(request, name)) > MOST_EXAMPLES:
            raise InvalidRequest(
                f"{len(getattr(request, name))} examples; at most {MOST_EXAMPLES} are taken", field=name
            )
    both = sorted(set(request.more_like) & set(request.less_like))
    if both:
        raise InvalidRequest(
            f"item {both[0]!r} is in more_like and in less_like; choose one", field="less_like"
        )
    if request.other_modality_first and request.rerank:
        raise InvalidRequest(
            "re-ranking makes an order of its own; ask without other_modality_first",
            field="other_modality_first",
        )
    if request.together is not None:
        _check_together(request, request.together)


def _check_together(request: SearchRequest, together: Together) -> None:
    many = 1 + len(together.queries)
    if not 2 <= many <= MOST_TOGETHER:
        raise InvalidRequest(
            f"{many} queries together; expected 2 to {MOST_TOGETHER}", field="together.queries"
        )
    weights = np.array(together.weights, np.float64)
    if len(weights) not in (0, many) or not np.isfinite(weights).all() or (weights <= 0).any():
        raise InvalidRequest(
            f"found weights {list(together.weights)} for {many} queries; expected a number above 0 for each, that of the "
            "first one first, or none",
            field="together.weights",
        )
    if together.by == "best" and (len(weights) or request.rerank or request.more_like or request.less_like):
        raise InvalidRequest(
            "the best of several scores has no weights, no re-ranking and no examples: there is no one query; use mean",
            field="together.by",
        )


def fused(request: SearchRequest, vectors: Float32Array) -> Float32Array:
    """Make of the queries the vectors to search with.

    Args:
        request: says how.
        vectors: unit rows, (Q, D).

    Returns:
        All of them, or their mean, (1, D).

    Raises:
        InvalidRequest: they are opposite to one another.
    """
    together = request.together
    if together is None or together.by == "best":
        return vectors
    weights = np.array(together.weights or (1.0,) * len(vectors), np.float64)
    weights /= weights.max()  # the sum of the largest numbers there are is none
    mean = (weights / weights.sum()) @ vectors.astype(np.float64)
    norm = float(np.linalg.norm(mean))
    if norm < LEAST_NORM:
        raise InvalidRequest(
            "the queries are opposite to one another, their mean is nothing; use best", field="together"
        )
    fused: Float32Array = (mean / norm).astype(np.float32)[None]
    return fused


def found(
    gallery: Gallery,
    request: SearchRequest,
    vectors: Float32Array,
    modality: Modality,
    detailed: bool,
    centring: int = 0,
) -> Found:
    """Ask the gallery.

    Args:
        gallery: to be asked.
        request: says what.
        vectors: to search with, (Q, D).
        modality: of the query.
        detailed: whether the hits' embeddings and the items of each modality are wanted, too.
        centring: the number of the centres that the vectors were brought to, 0 for none.
    """
    wanted = ranking.candidates(request)
    where, together = request.filter, len(vectors) > 1

    def among(narrow: Filter) -> Found:
        return gallery.search(vectors, wanted, narrow, request.min_score, detailed, centring, together)[0]

    if not request.other_modality_first:
        return among(where)
    others = [one for one in Modality if one is not modality]
    parts = []
    for kinds in (others, [modality]):
        chosen = tuple(one for one in kinds if not where.modalities or one in where.modalities)
        if chosen:
            parts.append(among(replace(where, modalities=chosen)))
    return _one_after_another(parts, wanted)


def _one_after_another(parts: Sequence[Found], k: int) -> Found:
    """Join answers over parts of a gallery, the first part's hits first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    hits = [hit for part in parts for hit in part.hits][:k]
    each = [part.searched_by for part in parts if part.searched_by is not None]
    return replace(
        first,
        hits=tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)),
        items_searched=sum(part.items_searched for part in parts),
        searched_by=np.sum(each, axis=0) if each else None,
        vectors=None,
    )


def without_own_camera(gallery: Gallery, request: SearchRequest) -> SearchRequest:
    """Leave out what the camera of the asking item took, if that is asked for.

    Raises:
        InvalidRequest: no item asks, or it has no camera.
        ItemNotFound: there is no such item.
    """
    if not request.exclude_own_camera:
        return request
    if not isinstance(request.query, ItemQuery):
        raise InvalidRequest(
            "only an item of the gallery has a camera that is known here; name the camera in exclude_cameras",
            field="exclude_own_camera",
        )
    camera = gallery.item(request.query.item_id).meta.camera
    if not camera:
        raise InvalidRequest(
            f"item {request.query.item_id!r} has no camera; ask without exclude_own_camera",
            field="exclude_own_camera",
        )
    where = replace(request.filter, exclude_cameras=(*request.filter.exclude_cameras, camera))
    return replace(request, filter=where)


def steered(
    gallery: Gallery, request: SearchRequest, vectors: Float32Array, centres: Centres | None = None
) -> tuple[SearchRequest, Float32Array]:
    """Move a query towards items that were liked and away from those that were not, which are left out.

    Args:
        gallery: holds the items.
        request: names them.
        vectors: the query, a unit row, (1, D), unless nothing is to be done.
        centres: that the query was brought to, and the items are; None for none.

    Raises:
        ItemNotFound: there is no such item.
    """
    if not (request.more_like or request.less_like):
        return request, vectors
    moved = vectors[0].astype(np.float64)
    for items, weight in ((request.more_like, LIKED), (request.less_like, -DISLIKED)):
        if items:
            moved += weight * _mean(gallery, items, centres)
    moved /= np.linalg.norm(moved)  # at least 1 - 0.75 - 0.15, however they lie
    where = replace(request.filter, exclude_items=(*request.filter.exclude_items, *request.less_like))
    return replace(request, filter=where), moved.astype(np.float32)[None]


def _mean(gallery: Gallery, items: Sequence[str], centres: Centres | None) -> Float64Array:
    each = [gallery.embedded(item) for item in items]
    rows = np.stack([vector for _, vector in each])
    mean: Float64Array = applied(centres, rows, [item.modality for item, _ in each]).mean(
        axis=0, dtype=np.float64
    )
    return mean
