"""What a gallery accepts: ids, names, metadata, embeddings, sizes. Knows no storage and no search."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np

from index.rows import Enrolment
from vireid.arrays import Float32Array
from vireid.errors import EmbeddingNotFinite, InvalidRequest
from vireid.types import NO_ATTRIBUTES, Filter, ItemMeta

ITEM_ID = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
BARE_ID = re.compile(r"[A-Za-z0-9_:-]{1,200}")  # without what makes a path
GALLERY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# ids that a path of HTTP cannot name
RESERVED_ENDS = ("/image", "/thumbnail")
DOTS = {".", ".."}
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_TOP_K = 1000
MAX_PAGE = 1000
MAX_VALUES = 1000
MAX_WORD = 200
MAX_ATTRIBUTES = 64
MAX_VALUE = 1000
UNIT_TOLERANCE = 1e-3
LONGEST_RETENTION_DAYS = 1000 * 366
LONGEST_RETENTION_S = LONGEST_RETENTION_DAYS * 86400


def check_gallery_name(name: str) -> None:
    """Refuse a name that could not be a folder's.

    Raises:
        InvalidRequest: it is malformed.
    """
    if not GALLERY_NAME.fullmatch(name):
        raise InvalidRequest(
            f"found gallery name {name[:80]!r}; expected 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
            field="name",
            reason="GALLERY_NAME_INVALID",
        )


def check_top_k(k: int) -> None:
    """Refuse a number of hits that is out of range.

    Raises:
        InvalidRequest: ``k`` is not 1 to 1000.
    """
    if not 1 <= k <= MAX_TOP_K:
        raise InvalidRequest(
            f"top_k is {k}; expected 1 to {MAX_TOP_K}",
            field="top_k",
            reason="TOP_K_OUT_OF_RANGE",
            metadata={"limit": str(MAX_TOP_K)},
        )


def check_item_id(item_id: str) -> None:
    """Refuse an id that could not be asked for again.

    Raises:
        InvalidRequest: malformed, or ending in a word that is a path of its own.
    """
    dotted = "." in item_id and DOTS & set(item_id.split("/"))
    if not ITEM_ID.fullmatch(item_id) or item_id.endswith(RESERVED_ENDS) or dotted:
        raise InvalidRequest(
            f"found item id {item_id[:220]!r}; expected 1 to 200 of A-Z a-z 0-9 . _ : / - without . or .. as a part, "
            f"that do not end in {' or '.join(RESERVED_ENDS)}",
            field="item_id",
            reason="ITEM_ID_INVALID",
        )


def check_meta(item_id: str, meta: ItemMeta) -> None:
    """Refuse metadata that is too long, no text, or a time without a timezone.

    Raises:
        InvalidRequest: there is such.
    """
    _check_word(meta.person, "person", MAX_WORD)
    _check_word(meta.camera, "camera", MAX_WORD)
    _check_moment(meta.captured_at, "captured_at")
    if len(meta.attributes) > MAX_ATTRIBUTES:
        raise InvalidRequest(
            f"item {item_id!r} has {len(meta.attributes)} attributes; expected at most {MAX_ATTRIBUTES}",
            field="attributes",
        )
    for key, value in meta.attributes.items():
        _check_word(key, "attributes", MAX_WORD)
        _check_word(value, "attributes", MAX_VALUE)


def check_expiry(item_id: str, moment: datetime | None) -> None:
    """Refuse an item that would be hidden as soon as it came.

    Raises:
        InvalidRequest: its time to go has passed, or has no timezone.
    """
    _check_moment(moment, "expires_at")
    if moment is not None and moment <= datetime.now(UTC):
        raise InvalidRequest(
            f"item {item_id!r} was to go at {moment.isoformat()}, which has passed; expected a time to come",
            field="expires_at",
            reason="EXPIRED_ALREADY",
        )


def check_page(limit: int, cursor: str) -> int:
    """Refuse a malformed page; return the id after which it begins.

    Raises:
        InvalidRequest: the limit or the cursor is malformed.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit is {limit}; expected 1 to {MAX_PAGE}", field="limit")
    if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidRequest(
            f"found cursor {cursor[:40]!r}; expected one that a listing gave", field="cursor"
        )
    return int(cursor or 0)


def check_values(count: int, field: str) -> None:
    """Refuse a filter that names more than a caller has a use for.

    Args:
        count: values given.
        field: where, for errors.

    Raises:
        InvalidRequest: there are too many.
    """
    if count > MAX_VALUES:
        raise InvalidRequest(f"{field} holds {count} values; expected at most {MAX_VALUES}", field=field)


def check_filter(where: Filter) -> None:
    """Refuse times without a timezone: they would mean another moment on another machine.

    Raises:
        InvalidRequest: there is one.
    """
    for name in ("captured_from", "captured_to"):
        _check_moment(getattr(where, name), f"filter.{name}")


def check_selector(ids: Sequence[str] | None, where: Filter | None) -> None:
    """Refuse to remove what nobody named.

    Raises:
        InvalidRequest: neither or both of ids and filter, or a filter that restricts nothing.
    """
    if (not ids) == (where is None):
        raise InvalidRequest("give item ids or a filter, one of the two", field="selector")
    if where is not None:
        if where.is_empty:
            raise InvalidRequest(
                "an empty filter would remove everything; delete the gallery instead", field="filter"
            )
        check_filter(where)


def check_min_score(min_score: float | None) -> None:
    """Refuse a lowest score that compares with nothing.

    Raises:
        InvalidRequest: it is NaN.
    """
    if min_score is not None and np.isnan(min_score):
        raise InvalidRequest("min_score is NaN; expected a cosine from -1 to 1", field="min_score")


def check_retention(seconds: int) -> None:
    """Refuse a time to keep items that cannot be counted.

    Raises:
        InvalidRequest: it is negative, or more than a thousand years.
    """
    if not 0 <= seconds <= LONGEST_RETENTION_S:
        raise InvalidRequest(
            f"found a retention of {seconds} s; expected 0, which sets no time, to {LONGEST_RETENTION_S}",
            field="retention_s",
        )


def check_keep_days(days: int) -> None:
    """Refuse a time to keep a snapshot that cannot be counted.

    Raises:
        InvalidRequest: it is negative, or more than a thousand years.
    """
    if not 0 <= days <= LONGEST_RETENTION_DAYS:
        raise InvalidRequest(
            f"found keep_days {days}; expected 0, which keeps it, to {LONGEST_RETENTION_DAYS}",
            field="keep_days",
        )


def check_embeddings(vectors: Float32Array, dim: int, field: str = "embedding") -> None:
    """Refuse rows that are not finite unit float32 rows.

    Args:
        vectors: supposedly (N, dim).
        dim: of the gallery.
        field: where they stand in a request, for errors.

    Raises:
        EmbeddingNotFinite: a row holds NaN or infinity.
        InvalidRequest: a wrong shape or type, or a row that is not of unit norm.
    """
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InvalidRequest(
            f"found embeddings {vectors.dtype} {vectors.shape}; expected float32 (N, {dim})",
            field=field,
        )
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    finite = np.isfinite(squares)  # squares of what float32 can hold fit into a float64
    if not finite.all():
        raise EmbeddingNotFinite(
            f"{int((~finite).sum())} of {len(vectors)} embeddings hold NaN or infinity; nothing was done",
            field=field,
        )
    norms = np.sqrt(squares)
    worst = int(np.abs(norms - 1.0).argmax()) if len(norms) else 0
    if len(norms) and abs(norms[worst] - 1.0) > UNIT_TOLERANCE:
        raise InvalidRequest(
            f"found an embedding of norm {norms[worst]:.4g}; expected 1: normalise it",
            field=field,
            reason="EMBEDDING_NOT_UNIT",
        )


def settle(batch: Iterable[Enrolment], dim: int, stores_images: bool) -> tuple[list[Enrolment], Float32Array]:
    """Check items and bring them to the form in which they are kept.

    Returns:
        The items with times in UTC, attributes that nobody can change any more, and no image where the gallery keeps
        none; and their vectors, (N, dim), which are nobody else's.

    Raises:
        InvalidRequest: a malformed id, checksum, word or vector.
        EmbeddingNotFinite: NaN or infinity in a vector.
    """
    items = list(batch)
    if not items:
        return [], np.empty((0, dim), np.float32)
    bare = _are_bare(items)
    for new in () if bare else items:
        _check_item(new)
    for new in items:
        if new.vector.shape != (dim,):
            raise InvalidRequest(
                f"found an embedding {new.vector.shape} for item {new.item_id!r}; expected ({dim},)",
                field="embedding",
            )
    rows = np.concatenate([new.vector for new in items]).reshape(len(items), dim)
    check_embeddings(rows, dim)
    return items if bare else [_settled(new, stores_images) for new in items], rows


def _are_bare(items: Sequence[Enrolment]) -> bool:
    """Say whether items pass all checks and hold nothing to be settled: told of many sooner than of each."""
    words = [new.meta.person for new in items] + [new.meta.camera for new in items]
    return (
        all(map(BARE_ID.fullmatch, [new.item_id for new in items]))
        and all(map(SHA256.fullmatch, [new.sha256 for new in items]))
        and "".join(words).isascii()
        and max(map(len, words)) <= MAX_WORD
        and all(
            (new.image, new.expires_at, new.enrolled_at, new.meta.captured_at) == (None,) * 4
            and new.meta.attributes is NO_ATTRIBUTES
            for new in items
        )
    )


def _check_item(new: Enrolment) -> None:
    check_item_id(new.item_id)
    if not SHA256.fullmatch(new.sha256):
        raise InvalidRequest(
            f"found sha256 {new.sha256[:80]!r} for item {new.item_id!r}; expected 64 lower-case hex digits",
            field="sha256",
        )
    if new.image is not None and not new.converted and hashlib.sha256(new.image).hexdigest() != new.sha256:
        raise InvalidRequest(
            f"the image of item {new.item_id!r} does not have the sha256 that came with it; send it again",
            field="sha256",
        )
    check_meta(new.item_id, new.meta)
    _check_moment(new.expires_at, "expires_at")
    _check_moment(new.enrolled_at, "enrolled_at")


def _check_word(word: str, field: str, longest: int) -> None:
    if not word.isascii():
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"{field} is no valid text: {word[:40]!r}", field=field) from None
    if len(word) > longest:
        raise InvalidRequest(
            f"{field} has {len(word)} characters; expected at most {longest}: {word[:40]!r}...", field=field
        )


def _check_moment(moment: datetime | None, field: str) -> None:
    if moment is None:
        return
    if moment.tzinfo is None:
        raise InvalidRequest(f"{field} is {moment} without a timezone; say which, such as UTC", field=field)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(
            f"{field} is {moment}, in UTC before the year 1 or after 9999; expected a time between them",
            field=field,
        ) from None


def _settled(new: Enrolment, stores_images: bool) -> Enrolment:
    meta, expires = new.meta, new.expires_at
    image = new.image if stores_images else None
    captured = None if meta.captured_at is None else meta.captured_at.astimezone(UTC)
    return replace(
        new,
        meta=ItemMeta(meta.person, meta.camera, captured, MappingProxyType(dict(meta.attributes))),
        image=image,
        expires_at=None if expires is None else expires.astimezone(UTC),
        enrolled_at=None if new.enrolled_at is None else new.enrolled_at.astimezone(UTC),
    )
