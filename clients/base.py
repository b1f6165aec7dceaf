"""The clients without their wire: every call of the service, with patience, synchronously and asynchronously.

A client of some wire is one of these two classes, given that wire's calls and a way to send them.
"""

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from clients.call import USUAL, Answer, Call, Choices, Image, Progress, Query, Wanted, Wire
from clients.replies import Embedding, Evaluation, Facets, Page, PutReply, Receipt, SearchReply
from clients.retry import Retry
from vireid.errors import VireidError
from vireid.types import Filter, GalleryInfo, Item, ItemMeta, Modality, Snapshot

DEFAULT_TIMEOUT_S = 30.0
EVERYTHING = Filter()
NOTHING_KNOWN = ItemMeta()


class Client(ABC):
    """The service, from outside: same types, same errors. One client may be shared by many threads.

    Args:
        wire: builds the calls.
        retry: patience with a busy or restarting server.
    """

    def __init__(self, wire: Wire, retry: Retry | None) -> None:
        self._wire = wire
        self._retry = retry or Retry()

    @abstractmethod
    def close(self) -> None:
        """Give the connection back."""

    @abstractmethod
    def _send(self, request: Any) -> Any:
        """Send a request once; its reply, or the error the server raised."""

    @abstractmethod
    def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery as ``vireid evaluate`` does, and wait for the report.

        Args:
            gallery: whose items are found.
            choices: who asks, and how answers are counted.
            progress: told the queries that are done and their total; what it raises ends the evaluation.

        Raises:
            VireidError: what the server raised, why the evaluation failed, or ``ServerUnreachable``.
        """

    @abstractmethod
    def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy, however long it takes.

        Args:
            gallery: its name.
            keep_days: after how many days the server removes the copy; 0 keeps it.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def embed(self, image: Image, modality: Modality | None = None) -> Embedding:
        """Embed one image; modality None lets the server decide."""
        return self._run(self._wire.embed(image, modality))

    def search(  # noqa: PLR0913 - each is said by name
        self,
        gallery: str,
        query: Query,
        *,
        top_k: int = 10,
        modality: Modality | None = None,
        where: Filter = EVERYTHING,
        min_score: float | None = None,
        min_probability: float | None = None,
        rerank: int = 0,
        one_per_person: bool = False,
        exclude_own_camera: bool = False,
        more_like: Sequence[str] = (),
        less_like: Sequence[str] = (),
        together: Sequence[Query] = (),
        weights: Sequence[float] = (),
        best: bool = False,
        other_modality_first: bool = False,
    ) -> SearchReply:
        """Find the items most like the query.

        Args:
            gallery: where to look.
            query: an image (bytes or a file), an item of the gallery, or an embedding computed before.
            top_k: hits at most.
            modality: what the image was taken with; None lets the server decide.
            where: which items may be hit.
            min_score: hits below this cosine are left out.
            min_probability: hits less likely than this are left out; the server's bundle must be calibrated.
            rerank: put so many of the best into a new order by k-reciprocal neighbours; 0 keeps that of the scores.
            one_per_person: of each person the best hit only; items of nobody stand for themselves.
            exclude_own_camera: leave out what the camera of the asking item took; an item must ask.
            more_like: items of the gallery that the query moves towards.
            less_like: items that it moves away from, and that are left out.
            together: more queries that show the same person, of the same ``modality`` where they are images.
            weights: of the query and of each of those in their mean; empty for equal ones.
            best: count for each item its best score with any of them, not that with their mean.
            other_modality_first: items of the query's own modality come after all others.

        Raises:
            VireidError: what the server raised, or ``ServerUnreachable``.
        """
        wanted = Wanted(
            top_k,
            modality,
            where,
            min_score,
            min_probability,
            rerank,
            one_per_person,
            exclude_own_camera,
            tuple(more_like),
            tuple(less_like),
            tuple(together),
            tuple(weights),
            best,
            other_modality_first,
        )
        call = self._wire.search(gallery, query, wanted)
        return self._run(call)

    def create_gallery(self, name: str, *, store_images: bool = True, retention_s: int = 0) -> GalleryInfo:
        """Make an empty gallery, whose items expire so long after their enrolment, 0 for no such time."""
        call = self._wire.create_gallery(name, store_images=store_images, retention_s=retention_s)
        return self._run(call)

    def retain(self, name: str, seconds: int) -> GalleryInfo:
        """Let a gallery's items expire so long after their enrolment, those that are there too; 0 sets no time."""
        return self._run(self._wire.retain(name, seconds))

    def get_gallery(self, name: str) -> GalleryInfo:
        """Describe a gallery."""
        return self._run(self._wire.get_gallery(name))

    def list_galleries(self) -> tuple[GalleryInfo, ...]:
        """Describe every gallery."""
        return self._run(self._wire.list_galleries())

    def delete_gallery(self, name: str) -> Receipt:
        """Remove a gallery and all it holds."""
        return self._run(self._wire.delete_gallery(name))

    def put_item(
        self,
        gallery: str,
        item_id: str,
        image: Image,
        *,
        modality: Modality | None = None,
        meta: ItemMeta = NOTHING_KNOWN,
        expires_at: datetime | None = None,
    ) -> PutReply:
        """Enrol or replace one item, which goes at its time; the same again, or with no time said, changes nothing."""
        call = self._wire.put_item(
            gallery, item_id, image, modality=modality, meta=meta, expires_at=expires_at
        )
        return self._run(call)

    def get_item(self, gallery: str, item_id: str) -> Item:
        """Describe one item."""
        return self._run(self._wire.get_item(gallery, item_id))

    def list_items(
        self, gallery: str, *, where: Filter = EVERYTHING, limit: int = 100, cursor: str = ""
    ) -> Page:
        """List a page of items."""
        return self._run(self._wire.list_items(gallery, where=where, limit=limit, cursor=cursor))

    def facets(self, gallery: str, *, where: Filter = EVERYTHING) -> Facets:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        return self._run(self._wire.facets(gallery, where))

    def delete_items(
        self,
        gallery: str,
        *,
        item_ids: Sequence[str] = (),
        where: Filter = EVERYTHING,
        dry_run: bool = False,
    ) -> Receipt:
        """Remove the items named, or those a filter that is not empty matches."""
        call = self._wire.delete_items(gallery, item_ids=item_ids, where=where, dry_run=dry_run)
        return self._run(call)

    def list_snapshots(self, gallery: str) -> tuple[Snapshot, ...]:
        """Describe a gallery's snapshots, the oldest first."""
        return self._run(self._wire.list_snapshots(gallery))

    def delete_snapshot(self, gallery: str, name: str) -> Snapshot:
        """Remove a snapshot; describe what went."""
        return self._run(self._wire.delete_snapshot(gallery, name))

    def _run(self, call: Call[Answer]) -> Answer:
        for failed in itertools.count(1):
            try:
                return call.read(self._send(call.request))
            except VireidError as error:
                wait_s = self._retry.wait_s(failed, error, repeatable=call.repeatable)
                if wait_s is None:
                    raise
            time.sleep(wait_s)
        raise AssertionError("the loop above ends by return or raise")


class AsyncClient(ABC):
    """The service, from outside, asynchronously; belongs to the event loop that first uses it.

    Args:
        wire: builds the calls.
        retry: patience with a busy or restarting server.
    """

    def __init__(self, wire: Wire, retry: Retry | None) -> None:
        self._wire = wire
        self._retry = retry or Retry()

    @abstractmethod
    async def close(self) -> None:
        """Give the connection back."""

    @abstractmethod
    async def _send(self, request: Any) -> Any:
        """Send a request once; its reply, or the error the server raised."""

    @abstractmethod
    async def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report; the arguments are those of ``Client.evaluate``."""

    @abstractmethod
    async def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; the arguments are those of ``Client.snapshot``."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def embed(self, image: Image, modality: Modality | None = None) -> Embedding:
        """Embed one image; modality None lets the server decide."""
        return await self._run(self._wire.embed(image, modality))

    async def search(  # noqa: PLR0913 - each is said by name
        self,
        gallery: str,
        query: Query,
        *,
        top_k: int = 10,
        modality: Modality | None = None,
        where: Filter = EVERYTHING,
        min_score: float | None = None,
        min_probability: float | None = None,
        rerank: int = 0,
        one_per_person: bool = False,
        exclude_own_camera: bool = False,
        more_like: Sequence[str] = (),
        less_like: Sequence[str] = (),
        together: Sequence[Query] = (),
        weights: Sequence[float] = (),
        best: bool = False,
        other_modality_first: bool = False,
    ) -> SearchReply:
        """Find the items most like the query; the arguments are those of ``Client.search``."""
        wanted = Wanted(
            top_k,
            modality,
            where,
            min_score,
            min_probability,
            rerank,
            one_per_person,
            exclude_own_camera,
            tuple(more_like),
            tuple(less_like),
            tuple(together),
            tuple(weights),
            best,
            other_modality_first,
        )
        call = self._wire.search(gallery, query, wanted)
        return await self._run(call)

    async def create_gallery(
        self, name: str, *, store_images: bool = True, retention_s: int = 0
    ) -> GalleryInfo:
        """Make an empty gallery, whose items expire so long after their enrolment, 0 for no such time."""
        call = self._wire.create_gallery(name, store_images=store_images, retention_s=retention_s)
        return await self._run(call)

    async def retain(self, name: str, seconds: int) -> GalleryInfo:
        """Let a gallery's items expire so long after their enrolment, those that are there too; 0 sets no time."""
        return await self._run(self._wire.retain(name, seconds))

    async def get_gallery(self, name: str) -> GalleryInfo:
        """Describe a gallery."""
        return await self._run(self._wire.get_gallery(name))

    async def list_galleries(self) -> tuple[GalleryInfo, ...]:
        """Describe every gallery."""
        return await self._run(self._wire.list_galleries())

    async def delete_gallery(self, name: str) -> Receipt:
        """Remove a gallery and all it holds."""
        return await self._run(self._wire.delete_gallery(name))

    async def put_item(
        self,
        gallery: str,
        item_id: str,
        image: Image,
        *,
        modality: Modality | None = None,
        meta: ItemMeta = NOTHING_KNOWN,
        expires_at: datetime | None = None,
    ) -> PutReply:
        """Enrol or replace one item, which goes at its time; the same again, or with no time said, changes nothing."""
        call = self._wire.put_item(
            gallery, item_id, image, modality=modality, meta=meta, expires_at=expires_at
        )
        return await self._run(call)

    async def get_item(self, gallery: str, item_id: str) -> Item:
        """Describe one item."""
        return await self._run(self._wire.get_item(gallery, item_id))

    async def list_items(
        self, gallery: str, *, where: Filter = EVERYTHING, limit: int = 100, cursor: str = ""
    ) -> Page:
        """List a page of items."""
        return await self._run(self._wire.list_items(gallery, where=where, limit=limit, cursor=cursor))

    async def facets(self, gallery: str, *, where: Filter = EVERYTHING) -> Facets:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        return await self._run(self._wire.facets(gallery, where))

    async def delete_items(
        self,
        gallery: str,
        *,
        item_ids: Sequence[str] = (),
        where: Filter = EVERYTHING,
        dry_run: bool = False,
    ) -> Receipt:
        """Remove the items named, or those a filter that is not empty matches."""
        call = self._wire.delete_items(gallery, item_ids=item_ids, where=where, dry_run=dry_run)
        return await self._run(call)

    async def list_snapshots(self, gallery: str) -> tuple[Snapshot, ...]:
        """Describe a gallery's snapshots, the oldest first."""
        return await self._run(self._wire.list_snapshots(gallery))

    async def delete_snapshot(self, gallery: str, name: str) -> Snapshot:
        """Remove a snapshot; describe what went."""
        return await self._run(self._wire.delete_snapshot(gallery, name))

    async def _run(self, call: Call[Answer]) -> Answer:
        for failed in itertools.count(1):
            try:
                return call.read(await self._send(call.request))
            except VireidError as error:
                wait_s = self._retry.wait_s(failed, error, repeatable=call.repeatable)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("the loop above ends by return or raise")
