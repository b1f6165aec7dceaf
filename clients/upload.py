"""Putting a folder into a gallery: many images side by side, and only those the server does not hold.

An upload that was interrupted goes on when it is started again, as the server is asked what it has. Works
over any client. Knows no wire.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from clients.base import AsyncClient, Client
from clients.call import image_bytes
from clients.replies import ItemFailure
from vireid.errors import BodyTooLarge, ImageError, InvalidRequest
from vireid.image_folder import Entry
from vireid.types import Item

PAGE = 1000
SIDE_BY_SIDE = 4

# called after each image with 1
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What became of each image.

    Attributes:
        created: new items.
        replaced: items whose image or metadata changed.
        unchanged: items that were there already; most are found out without being sent.
        failures: images the server did not take, by item.
    """

    created: int
    replaced: int
    unchanged: int
    failures: tuple[ItemFailure, ...]


def upload(
    client: Client,
    gallery: str,
    entries: Sequence[Entry],
    *,
    side_by_side: int = SIDE_BY_SIDE,
    advance: Advance | None = None,
) -> UploadReport:
    """Put images into a gallery.

    Args:
        client: where to.
        gallery: exists already.
        entries: the images.
        side_by_side: calls in flight at once.
        advance: told of each finished image.

    Raises:
        VireidError: something that is no single image's fault (no key, no gallery, no server, a full disk);
            what was put stays, and a second upload goes on from there.
    """
    held: dict[str, Item] = {}
    cursor, more = "", True
    while more:
        page = client.list_items(gallery, limit=PAGE, cursor=cursor)
        held.update((item.item_id, item) for item in page.items)
        cursor, more = page.cursor, bool(page.cursor)

    def put(entry: Entry) -> str | ItemFailure:
        try:
            data = image_bytes(entry.path)
            if is_held(held.get(entry.item_id), entry, data):
                return "unchanged"
            return client.put_item(
                gallery,
                entry.item_id,
                data,
                modality=entry.modality,
                meta=entry.meta,
                expires_at=entry.expires_at,
            ).outcome
        except (ImageError, InvalidRequest, BodyTooLarge) as error:
            return ItemFailure.of(entry.item_id, error)

    with ThreadPoolExecutor(side_by_side, thread_name_prefix="vireid-upload") as pool:
        waiting = [pool.submit(put, entry) for entry in entries]
        try:
            for done in as_completed(waiting):
                done.result()
                if advance is not None:
                    advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return report(done.result() for done in waiting)


async def upload_async(
    client: AsyncClient,
    gallery: str,
    entries: Sequence[Entry],
    *,
    side_by_side: int = SIDE_BY_SIDE,
    advance: Advance | None = None,
) -> UploadReport:
    """Put images into a gallery, asynchronously; the arguments and errors are those of ``upload``."""
    held: dict[str, Item] = {}
    cursor, more = "", True
    while more:
        page = await client.list_items(gallery, limit=PAGE, cursor=cursor)
        held.update((item.item_id, item) for item in page.items)
        cursor, more = page.cursor, bool(page.cursor)
    window = asyncio.Semaphore(side_by_side)

    async def put(entry: Entry) -> str | ItemFailure:
        async with window:
            try:
                data = await asyncio.to_thread(image_bytes, entry.path)
                if is_held(held.get(entry.item_id), entry, data):
                    return "unchanged"
                reply = await client.put_item(
                    gallery,
                    entry.item_id,
                    data,
                    modality=entry.modality,
                    meta=entry.meta,
                    expires_at=entry.expires_at,
                )
            except (ImageError, InvalidRequest, BodyTooLarge) as error:
                return ItemFailure.of(entry.item_id, error)
            else:
                return reply.outcome
            finally:
                if advance is not None:
                    advance(1)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(entry)) for entry in entries]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return report(task.result() for task in tasks)


def is_held(item: Item | None, entry: Entry, data: bytes) -> bool:
    """Say whether the server's item is this image with this metadata already."""
    return (
        item is not None
        and item.meta == entry.meta
        and entry.expires_at in {None, item.expires_at}
        and entry.modality in {None, item.modality}
        and item.sha256 == hashlib.sha256(data).hexdigest()
    )


def report(outcomes: Iterable[str | ItemFailure]) -> UploadReport:
    """Count what became of each image."""
    every = list(outcomes)
    words = Counter(outcome for outcome in every if isinstance(outcome, str))
    return UploadReport(
        created=words["created"],
        replaced=words["replaced"],
        unchanged=words["unchanged"],
        failures=tuple(outcome for outcome in every if isinstance(outcome, ItemFailure)),
    )
