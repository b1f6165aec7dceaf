"""A gallery: durable records, a vector index over them, and filtered exact search.

The SQLite file is the truth; the index and the columns that filters read are rebuilt from it at every start. One
writer at a time, many readers, who see a whole state and never wait for the disk. Knows no images and no model.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from index import limits, lost, opening, snapshots
from index.answers import Found, Labelled, Receipt
from index.backends import BACKENDS, DEFAULT, made
from index.cache import Cache
from index.centres import Centres
from index.gate import Gate
from index.holdings import Holdings
from index.kept_centres import KeptCentres
from index.readable import Readable
from index.records import Records
from index.rows import Enrolment
from index.second_space import SecondSpace
from index.table import Table
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import GalleryMismatch, StorageError
from vireid.types import Filter, Item, Snapshot

__all__ = ["BACKENDS", "Enrolment", "Found", "Gallery", "Labelled", "Receipt"]


class Gallery(Readable):
    """One gallery; may be asked by many threads.

    Args:
        path: its SQLite file.
        backend: a name in ``index.backends.BACKENDS``.
        cached: start from the cache of a large gallery if there is one; otherwise every record is verified.

    Raises:
        DataLoss: the file is damaged.
        StorageError: the disk refuses.
    """

    def __init__(self, path: Path, backend: str = DEFAULT, cached: bool = True) -> None:
        self._records = Records(path)
        head = self._records.head
        self._cache = Cache(path)
        self._snapshots = path.parent / snapshots.FOLDER
        self._lost = lost.counted(path.parent)
        self._writer = threading.Lock()
        self._failure: StorageError | None = None
        self._gate = Gate(self._refusal)
        self._backend = partial(made, backend, folder=path.parent)
        try:
            self._holdings = opening.opened(self._records, self._cache if cached else None, self._make)
        except MemoryError as error:
            self._records.close()
            raise opening.failed(head.name, error) from error
        except BaseException:
            self._records.close()
            raise
        self._info = self._described()

    def close(self, for_good: bool = False) -> Receipt:
        """Wait for who is inside, then close the file; nothing can be asked afterwards.

        Args:
            for_good: nobody will open it again.

        Returns:
            All that it held.
        """
        with self._writer:
            failed, self._failure = self._failure, None  # who comes later is told that it is closed
            self._gate.close()
            try:  # of a failed gallery the file alone knows
                images = self._records.count()[1] if failed else self._holdings.images()
                if not (failed or for_good):
                    opening.keep(self._records, self._cache, self._holdings)
            finally:
                self._records.close()
            head = self._records.head
            # not when the garbage collector comes by: it is most of the memory, and more than one has waited for it
            self._holdings = Holdings(head.name, head.dim, BACKENDS["exact"](head.dim), self.centres)
            kept = len(list(snapshots.listed(self._snapshots)))
            return Receipt(head.items, images, head.items, head.version, kept)

    def enroll(self, batch: Sequence[Enrolment]) -> list[str]:
        """Store items as ``enrolled`` does; return ``created``, ``replaced`` or ``unchanged`` for each."""
        return [outcome for outcome, _ in self._enrol(batch, told=False)[0]]

    def enrolled(self, batch: Sequence[Enrolment]) -> list[tuple[str, Item]]:
        """Store items, durable on return, all or none, and describe them as they were stored.

        Args:
            batch: items; an id that comes twice keeps the last.

        Returns:
            ``created``, ``replaced`` or ``unchanged`` for each, and the item; of an id that comes twice, the last.

        Raises:
            InvalidRequest: a malformed id, word or vector; nothing was stored.
            EmbeddingNotFinite: NaN or infinity in a vector; nothing was stored.
            GalleryMismatch: the gallery went over to another space meanwhile; nothing was stored.
            StorageError: the disk is full; nothing was stored.
        """
        outcomes, items = self._enrol(batch, told=True)
        return [(outcome, items[item_id]) for outcome, item_id in outcomes]

    def remove(
        self,
        ids: Sequence[str] | None = None,
        filter: Filter | None = None,  # noqa: A002 - the domain's word
        dry_run: bool = False,
        with_snapshots: bool = False,
    ) -> Receipt:
        """Remove items by id or by filter, durable on return; ids not held are ignored.

        Args:
            ids: of the items.
            filter: which items, instead of ids.
            dry_run: only count.
            with_snapshots: remove the snapshots that hold any of them, too.

        Raises:
            InvalidRequest: neither or both of ids and filter, or a filter that restricts nothing.
            StorageError: the disk refuses; nothing was removed.
        """
        limits.check_selector(ids, filter)
        with self._writer:
            self._gate.check()
            keys = self._holdings.passing(filter) if filter is not None else self._holdings.keys(ids or ())
            return self._remove(keys, dry_run, with_snapshots)

    def retain(self, seconds: int) -> None:
        """Let items expire so long after their enrolment, those that are there too, durable on return.

        An item that says so itself expires earlier. What has expired is hidden at once and removed by ``expire``.

        Args:
            seconds: 0 sets no time.

        Raises:
            InvalidRequest: it is negative, or more than a thousand years.
            StorageError: the disk refuses; nothing changed.
        """
        limits.check_retention(seconds)
        with self._writer, self._records.still():
            self._gate.check()
            head = self._records.head
            if head.retention_s == seconds:
                return
            self._records.amend(replace(head, retention_s=seconds, version=head.version + 1))

            def retained() -> Holdings:
                self._holdings.retain(seconds)
                return self._holdings

            with self._gate.writing():
                self._follow(retained)

    def expire(self) -> Receipt:
        """Remove the items and snapshots whose time has come, durable on return."""
        with self._writer:
            self._gate.check()
            receipt = self._remove(self._holdings.expired())
            went = snapshots.remove_expired(self._snapshots, datetime.now(UTC))
            return replace(receipt, snapshots=went)

    def exchange(self) -> None:
        """Go over to the second embedding space, filled by ``index.reembedding``; again goes back.

        Raises:
            FailedPrecondition: there is none, or items lack its vectors.
            StorageError, DataLoss: it could not be done; nothing changed.
        """
        with self._writer, self._gate.writing():
            KeptCentres(self._records).check()
            self._cache.discard()
            SecondSpace(self._records).exchange()
            self._follow(lambda: opening.opened(self._records, None, self._make))

    def centre(self, centres: Centres) -> None:
        """Search with other centres from now on, durable on return; searches go on meanwhile with those before.

        The stored embeddings stay as they came. Takes the room of a second index while it is made.

        Args:
            centres: learnt from vectors of this gallery's space.

        Raises:
            StorageError: the disk refuses, or memory ran out; nothing changed.
            DataLoss: a record is damaged; nothing changed.
        """
        with self._writer, self._records.still():
            kept = KeptCentres(self._records)
            numbered = kept.numbered(centres)
            self._recentre(numbered, lambda: kept.put(numbered))

    def uncentre(self) -> None:
        """Search as before the last ``centre``, durable on return; again goes back further.

        Raises:
            FailedPrecondition: the gallery is not centred.
            StorageError, DataLoss: as for ``centre``.
        """
        with self._writer:
            self._gate.check()
            kept = KeptCentres(self._records)
            self._recentre(kept.beneath(), kept.back)

    def snapshot(self, keep: timedelta | None = None) -> Path:
        """Copy the gallery into a folder beside its file, durable on return; changes wait meanwhile.

        Args:
            keep: how long the snapshot is kept; None for ever.

        Raises:
            InvalidRequest: a time to keep it that cannot be counted.
            StorageError: the disk refuses; there is no such snapshot.
            DataLoss: a record or the centres are damaged, as the copy were; there is no such snapshot.
        """
        limits.check_keep_days(0 if keep is None else keep.days)
        with self._writer:
            self._gate.check()
            KeptCentres(self._records).check()
            return snapshots.make(self._records, self._snapshots, keep)

    def drop_snapshot(self, name: str) -> Snapshot:
        """Remove a snapshot, a damaged one too, durable on return; describe what went.

        Raises:
            SnapshotNotFound: there is none of that name.
            StorageError: the disk refuses.
        """
        with self._writer:
            self._gate.check()
            path = snapshots.named(self._snapshots, name)
            went = snapshots.describe(path)
            snapshots.remove(path)
            return went

    def compact(self) -> None:
        """Write the file anew without the room that removed items left; changes and pictures wait meanwhile."""
        with self._writer:
            self._gate.check()
            self._records.compact()

    def _enrol(self, batch: Sequence[Enrolment], told: bool) -> tuple[list[tuple[str, str]], dict[str, Item]]:
        """Store items; return what became of each id, and the items, those that were stored only where ``told``."""
        head = self._records.head
        settled, vectors = limits.settle(batch, head.dim, head.stores_images)
        with self._writer:
            self._gate.check()
            self._check_space(head.space_id)
            # only the writer changes the holdings, so the writer needs no gate to read them
            outcomes, items, todo = self._holdings.judged(settled)
            if todo:
                replaced = self._holdings.keys(tuple(todo)).tolist()
                if replaced:
                    self._cache.discard()  # it holds what is to go
                if len(todo) < len(settled):
                    settled, vectors = [settled[at] for at in todo.values()], vectors[list(todo.values())]
                table = self._records.put(settled, vectors, replaced)
                self._change(replaced, table, vectors)
                items |= self._holdings.items(table.ids) if told else {}
            return outcomes, items

    def _check_space(self, settled_for: str) -> None:
        """Refuse vectors that waited while the gallery went over to another space: they are of the one before."""
        if self.space_id != settled_for:
            name = self._records.head.name
            raise GalleryMismatch(
                f"gallery {name!r} went over from space {settled_for[:12]}... to {self.space_id[:12]}... meanwhile; "
                "nothing was stored: embed the images with the other bundle",
                metadata={"gallery": name, "found": settled_for, "expected": self.space_id},
            )

    def _remove(self, keys: Int64Array, dry_run: bool = False, with_snapshots: bool = False) -> Receipt:
        images = self._holdings.images(keys)
        held = snapshots.holding(self._snapshots, int(keys[0])) if len(keys) else []
        if len(keys) and not dry_run:
            self._cache.discard()
            self._records.remove(keys.tolist())
            self._change(keys.tolist())
            for path in held if with_snapshots else ():
                snapshots.remove(path)
        went, stay = (len(held), 0) if with_snapshots else (0, len(held))
        if len(keys):  # what a damaged file holds nobody can say
            stay += len(lost.kept(self._snapshots.parent))
        return Receipt(len(keys), images, len(keys), self._holdings.version, went, stay)

    def _make(self, centres: Centres | None) -> Holdings:
        """Make empty holdings of the space in use."""
        head = self._records.head
        return Holdings(head.name, head.dim, self._backend(head.dim), centres)

    def _recentre(self, centres: Centres | None, write: Callable[[], None]) -> None:
        """Make the index of some centres beside the one in use, write, and go over to it in one step."""
        self._gate.check()
        try:
            holdings = opening.filled(self._records, self._make(centres))
        except MemoryError as error:
            raise opening.failed(self._records.head.name, error) from error
        self._cache.discard()
        write()
        with self._gate.writing():
            self._follow(lambda: holdings)

    def _change(
        self, dropped: Sequence[int], table: Table | None = None, vectors: Float32Array | None = None
    ) -> None:
        def changed() -> Holdings:
            self._holdings.drop(dropped)
            if table is not None and vectors is not None:
                self._holdings.take_in(table, vectors)
            return self._holdings

        with self._gate.writing():
            self._follow(changed)

    def _follow(self, change: Callable[[], Holdings]) -> None:
        """Follow a committed change; after a failure nothing is answered any more rather than half of it."""
        try:
            self._holdings = change()
            self._holdings.version = self._records.head.version
            self._info = self._described()
        except BaseException as error:
            self._failure = opening.failed(self._records.head.name, error)
            self._info = self._described(self._failure.message)
            self._gate.shut()
            if isinstance(error, Exception):
                raise self._failure from error
            raise
