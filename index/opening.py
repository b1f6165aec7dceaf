"""Fill what a gallery holds in memory: from its cache and what came after, or from every record of its file.

Knows no search.
"""

import logging
from collections.abc import Callable

from index.cache import Cache, StaleCacheError, State
from index.centres import Centres
from index.holdings import Holdings
from index.kept_centres import KeptCentres
from index.records import Records
from vireid.errors import DataLoss, StorageError

log = logging.getLogger(__name__)

# a smaller gallery is read as fast without
CACHED_FROM = 50_000


def opened(records: Records, cache: Cache | None, make: Callable[[Centres | None], Holdings]) -> Holdings:
    """Read a gallery.

    What comes from the cache counts only if, with the records that came after, it adds up to what the file says
    there must be.

    Args:
        records: of the gallery.
        cache: None verifies every record.
        make: makes empty holdings of some centres.

    Raises:
        DataLoss: a record, or the centres, are not as they were written.
    """
    centres = KeptCentres(records).current()
    holdings = None if cache is None else _from_cache(records, cache, lambda: make(centres))
    if holdings is None:
        return filled(records, make(centres))
    holdings.retain(records.head.retention_s)
    holdings.version = records.head.version
    return holdings


def filled(records: Records, holdings: Holdings) -> Holdings:
    """Read every record into empty holdings.

    Raises:
        DataLoss: a record is not as it was written.
    """
    holdings.expect(records.head.items)
    for table, vectors in records.chunks():
        holdings.take_in(table, vectors)
    holdings.retain(records.head.retention_s)
    holdings.version = records.head.version
    return holdings


def failed(name: str, error: BaseException) -> StorageError:
    """Make the error of a gallery that could not be kept in memory."""
    return StorageError(
        f"the index of gallery {name!r} failed ({error!r}); all that was stored is safe: give "
        "the server more memory and start it again",
        reason="INDEX_FAILED",
        metadata={"gallery": name},
    )


def keep(records: Records, cache: Cache, holdings: Holdings) -> None:
    """Write the cache anew if the gallery is large and the cache is of another state."""
    head = records.head
    if head.items < CACHED_FROM or cache.state == State.of(head):
        return
    try:
        cache.write(head, holdings.table(), holdings.vectors)
    except MemoryError as error:
        log.warning("gallery %s has no cache, its next start takes longer: %r", head.name, error)


def _from_cache(records: Records, cache: Cache, make: Callable[[], Holdings]) -> Holdings | None:
    head = records.head
    try:
        found = cache.read(head)
        if found is None:
            return None
        state, parts = found
        holdings = make()
        holdings.expect(head.items)
        for table, vectors in parts:
            holdings.take_back(table, vectors)
        for table, vectors in records.chunks(state.next_key - 1, (state.items, state.total)):
            holdings.take_in(table, vectors)
    except (StaleCacheError, DataLoss, OSError) as error:
        log.warning("the cache is not used, every record is read: %s", error)
        cache.discard()
        return None
    cache.state = state
    return holdings
