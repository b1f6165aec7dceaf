"""What a search asks for, worked out before the gallery is asked: its vector, and which items it leaves out.

Knows no transport, and of galleries only how to read an item.
"""

from dataclasses import replace

import numpy as np

from index.gallery import Gallery
from server.answers import ItemQuery, SearchRequest, VectorQuery
from vireid.arrays import Float32Array
from vireid.errors import GalleryMismatch, InvalidRequest

UNIT_TOLERANCE = 1e-3
MOST_EXAMPLES = 64
# Rocchio, "Relevance feedback in information retrieval", 1971, with the weights that have become usual
LIKED, DISLIKED = 0.75, 0.15


def own_vector(query: VectorQuery, space_id: str) -> Float32Array:
    """Return an embedding that was computed before.

    Raises:
        GalleryMismatch: it is of another space.
        InvalidRequest: it is no unit vector.
    """
    if query.space_id != space_id:
        raise GalleryMismatch(
            f"the embedding is of space {query.space_id[:12]!r}..., this server's bundle makes "
            f"{space_id[:12]!r}...; embed the image here",
            metadata={"found": query.space_id, "expected": space_id},
        )
    # squares of large numbers do not fit into a float32
    norm = float(np.linalg.norm(query.vector.astype(np.float64)))
    if np.isfinite(norm) and abs(norm - 1.0) > UNIT_TOLERANCE:
        raise InvalidRequest(
            f"the embedding has norm {norm:.4g}; expected 1",
            field="embedding",
            reason="EMBEDDING_NOT_UNIT",
        )
    return query.vector


def check_examples(request: SearchRequest) -> None:
    """Refuse examples that are too many, or both liked and disliked.

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
    gallery: Gallery, request: SearchRequest, vector: Float32Array
) -> tuple[SearchRequest, Float32Array]:
    """Move a query towards items that were liked and away from those that were not, which are left out.

    Args:
        gallery: holds the items.
        request: names them.
        vector: the query, unit, (D,).

    Raises:
        ItemNotFound: there is no such item.
    """
    if not (request.more_like or request.less_like):
        return request, vector
    moved = vector.astype(np.float64)
    for items, weight in ((request.more_like, LIKED), (request.less_like, -DISLIKED)):
        if items:
            moved += weight * np.mean([gallery.vector(item) for item in items], axis=0, dtype=np.float64)
    moved /= np.linalg.norm(moved)  # at least 1 - 0.75 - 0.15, however they lie
    where = replace(request.filter, exclude_items=(*request.filter.exclude_items, *request.less_like))
    return replace(request, filter=where), moved.astype(np.float32)
