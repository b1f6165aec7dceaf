"""The shared words and their messages, both ways: modality, time, item, filter, hit, gallery, vector bytes.

Knows no NumPy (clients carry none), no service and no channel.
"""

import sys
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from vireid.errors import InvalidRequest
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Centring, Filter, GalleryInfo, Hit, Item, ItemMeta, Modality, Snapshot

_MODALITY_OF_MESSAGE: dict[int, Modality | None] = {
    pb.MODALITY_UNSPECIFIED: None,
    pb.MODALITY_VISIBLE: Modality.VISIBLE,
    pb.MODALITY_INFRARED: Modality.INFRARED,
}
_MODALITY_TO_MESSAGE: dict[Modality | None, pb.Modality] = {
    None: pb.MODALITY_UNSPECIFIED,
    Modality.VISIBLE: pb.MODALITY_VISIBLE,
    Modality.INFRARED: pb.MODALITY_INFRARED,
}

_STATE_OF_MESSAGE = {pb.Gallery.STATE_READY: "ready", pb.Gallery.STATE_FAILED: "failed"}
_STATE_TO_MESSAGE = {word: number for number, word in _STATE_OF_MESSAGE.items()}


def modality_of(number: int, field: str = "modality") -> Modality | None:
    """Read a modality; UNSPECIFIED is None, the server decides.

    Args:
        number: the enum's number on the wire.
        field: what to name in the error.

    Raises:
        InvalidRequest: a number this version does not know.
    """
    try:
        return _MODALITY_OF_MESSAGE[number]
    except KeyError:
        raise InvalidRequest(
            f"{field} is {number}; expected 0 (unspecified), 1 (visible) or 2 (infrared)", field=field
        ) from None


def modality_to(modality: Modality | None) -> pb.Modality:
    """Write a modality; None becomes UNSPECIFIED."""
    return _MODALITY_TO_MESSAGE[modality]


def known_modality_of(number: int, field: str = "modality") -> Modality:
    """Read a modality that has to be there.

    Raises:
        InvalidRequest: it is unspecified or unknown.
    """
    modality = modality_of(number, field)
    if modality is None:
        raise InvalidRequest(f"{field} is not set; expected visible or infrared", field=field)
    return modality


def time_of(message: Timestamp, field: str = "timestamp") -> datetime:
    """Read a moment as timezone-aware UTC.

    Raises:
        InvalidRequest: it lies outside the years 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{field} is no valid time: {error}", field=field) from None


def time_to(moment: datetime, field: str = "captured_at") -> Timestamp:
    """Write a timezone-aware moment.

    Raises:
        InvalidRequest: it has no timezone, so that no one could tell which moment it is.
    """
    if moment.tzinfo is None:
        raise InvalidRequest(
            f"time {moment.isoformat()} has no timezone; give one, for example +00:00", field=field
        )
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def duration_to(seconds: float) -> Duration:
    """Write a length of time."""
    whole, nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)


def seconds_of(message: Duration) -> float:
    """Read a length of time."""
    return float(message.ToNanoseconds()) / 1e9


def filter_of(message: pb.Filter) -> Filter:
    """Read a filter.

    Raises:
        InvalidRequest: a modality or time in it is invalid.
    """
    modalities = tuple(known_modality_of(number, "filter.modalities") for number in message.modalities)
    return Filter(
        cameras=tuple(message.camera_ids),
        exclude_cameras=tuple(message.exclude_camera_ids),
        captured_from=_optional_time(message, "captured_from"),
        captured_to=_optional_time(message, "captured_to"),
        modalities=modalities,
        persons=tuple(message.person_ids),
        exclude_items=tuple(message.exclude_item_ids),
        attributes=dict(message.attributes),
    )


def filter_to(chosen: Filter) -> pb.Filter:
    """Write a filter.

    Raises:
        InvalidRequest: a time in it has no timezone.
    """
    return pb.Filter(
        camera_ids=chosen.cameras,
        exclude_camera_ids=chosen.exclude_cameras,
        captured_from=None if chosen.captured_from is None else time_to(chosen.captured_from),
        captured_to=None if chosen.captured_to is None else time_to(chosen.captured_to),
        modalities=[modality_to(modality) for modality in chosen.modalities],
        person_ids=chosen.persons,
        exclude_item_ids=chosen.exclude_items,
        attributes=dict(chosen.attributes),
    )


def meta_of(message: pb.Item) -> ItemMeta:
    """Read what is known of an item beside its image.

    Raises:
        InvalidRequest: its time is invalid.
    """
    return ItemMeta(
        person=message.person_id,
        camera=message.camera_id,
        captured_at=_optional_time(message, "captured_at"),
        attributes=dict(message.attributes),
    )


def expiry_of(message: pb.Item) -> datetime | None:
    """Read when an item is to be gone.

    Raises:
        InvalidRequest: the time is invalid.
    """
    return _optional_time(message, "expires_at")


def proposed_item(
    item_id: str, modality: Modality | None, meta: ItemMeta, expires_at: datetime | None = None
) -> pb.Item:
    """Write an item that is to be put: what the server adds is left out.

    Raises:
        InvalidRequest: its time has no timezone.
    """
    return pb.Item(
        item_id=item_id,
        modality=modality_to(modality),
        camera_id=meta.camera,
        captured_at=None if meta.captured_at is None else time_to(meta.captured_at),
        person_id=meta.person,
        attributes=dict(meta.attributes),
        expires_at=None if expires_at is None else time_to(expires_at, "expires_at"),
    )


def item_of(message: pb.Item) -> Item:
    """Read a stored item.

    Raises:
        InvalidRequest: its modality or a time is invalid.
    """
    return Item(
        item_id=message.item_id,
        modality=known_modality_of(message.modality),
        meta=meta_of(message),
        sha256=message.sha256.hex(),
        has_image=message.has_image,
        enrolled_at=time_of(message.enrolled_at, "enrolled_at"),
        expires_at=expiry_of(message),
    )


def item_to(item: Item) -> pb.Item:
    """Write a stored item."""
    message = proposed_item(item.item_id, item.modality, item.meta, item.expires_at)
    message.sha256 = bytes.fromhex(item.sha256)
    message.has_image = item.has_image
    message.enrolled_at.CopyFrom(time_to(item.enrolled_at))
    return message


def hit_of(message: pb.Hit) -> Hit:
    """Read a ranked answer."""
    return Hit(
        rank=message.rank,
        score=message.score,
        item=item_of(message.item),
        probability=message.probability if message.HasField("probability") else None,
    )


def hit_to(hit: Hit) -> pb.Hit:
    """Write a ranked answer."""
    return pb.Hit(rank=hit.rank, score=hit.score, item=item_to(hit.item), probability=hit.probability)


def gallery_of(message: pb.Gallery) -> GalleryInfo:
    """Read a gallery's description; a state this version does not know reads as failed."""
    return GalleryInfo(
        name=message.name,
        space_id=message.space_id,
        dim=message.dim,
        items=message.items,
        version=message.version,
        stores_images=message.stores_images,
        state=_STATE_OF_MESSAGE.get(message.state, "failed"),
        detail=message.state_detail,
        centring=centring_of(message.centring) if message.HasField("centring") else None,
        retention_s=message.retention_s,
        lost=message.lost,
    )


def gallery_to(info: GalleryInfo) -> pb.Gallery:
    """Write a gallery's description."""
    return pb.Gallery(
        name=info.name,
        space_id=info.space_id,
        dim=info.dim,
        items=info.items,
        version=info.version,
        stores_images=info.stores_images,
        state=_STATE_TO_MESSAGE[info.state],
        state_detail=info.detail,
        centring=None if info.centring is None else centring_to(info.centring),
        retention_s=info.retention_s,
        lost=info.lost,
    )


def snapshot_of(message: pb.Snapshot) -> Snapshot:
    """Read a snapshot's description."""
    return Snapshot(
        name=message.name,
        version=message.version,
        items=message.items,
        images=message.images,
        bytes=message.bytes,
        made_at=_optional_time(message, "made_at"),
        expires_at=_optional_time(message, "expires_at"),
        damage=message.damage,
    )


def snapshot_to(snapshot: Snapshot) -> pb.Snapshot:
    """Write a snapshot's description."""
    return pb.Snapshot(
        name=snapshot.name,
        version=snapshot.version,
        items=snapshot.items,
        images=snapshot.images,
        bytes=snapshot.bytes,
        made_at=None if snapshot.made_at is None else time_to(snapshot.made_at, "made_at"),
        expires_at=None if snapshot.expires_at is None else time_to(snapshot.expires_at, "expires_at"),
        damage=snapshot.damage,
    )


def centring_of(message: pb.Centring) -> Centring:
    """Read how a gallery is centred."""
    since = _optional_time(message, "since")
    return Centring(message.strength, message.visible, message.infrared, message.version, since)


def centring_to(centring: Centring) -> pb.Centring:
    """Write how a gallery is centred."""
    return pb.Centring(
        version=centring.version,
        since=None if centring.since is None else time_to(centring.since),
        strength=centring.strength,
        visible=centring.visible,
        infrared=centring.infrared,
    )


def floats_of(data: bytes, field: str = "embedding.f32_le") -> tuple[float, ...]:
    """Read little-endian float32 values.

    Args:
        data: the values.
        field: their place in the request, for errors.

    Raises:
        InvalidRequest: the length is not a multiple of four.
    """
    if len(data) % 4:
        raise InvalidRequest(
            f"an embedding of {len(data)} bytes; expected little-endian float32, 4 bytes a value",
            field=field,
        )
    return tuple(_little_endian(array("f", data)))


def floats_to(values: Iterable[float]) -> bytes:
    """Write values as little-endian float32."""
    return _little_endian(array("f", values)).tobytes()


def _little_endian(values: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _optional_time(message: pb.Filter | pb.Item | pb.Snapshot | pb.Centring, field: str) -> datetime | None:
    return time_of(getattr(message, field), field) if message.HasField(field) else None
