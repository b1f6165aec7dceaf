"""The retrieval service: decode, preprocess, batch, embed, enrol, search.

All behaviour is here, once; a transport adds conversion and an error table. Raises only ``vireid.errors``.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from index.gallery import Gallery
from index.limits import check_expiry, check_item_id, check_meta, check_top_k
from index.records import Enrolment
from index.store import GalleryStore
from server import asking, finding, ranking
from server.admission import Admission, Lane
from server.answers import (
    STAGES,
    Embedded,
    ImageQuery,
    ItemQuery,
    PutAnswer,
    Query,
    SearchAnswer,
    SearchRequest,
    Timing,
    VectorQuery,
    Warned,
)
from server.batcher import Batcher, Completed, Prepared
from server.keeper import Keeper
from server.metrics import Metrics
from server.threads import Threads
from vireid.arrays import Float32Array
from vireid.bundle import Manifest
from vireid.engines.choice import Choice
from vireid.errors import DeadlineExceeded
from vireid.images.decode import decode
from vireid.images.modality import detect
from vireid.images.preprocess import Preprocess
from vireid.images.thumbnail import thumbnail
from vireid.types import Item, ItemMeta, Modality

SURE = 0.9
FRESH_S = 10.0
PROBE_TIMEOUT_S = 5.0
HASHED_IN_PLACE = 256 * 1024  # less costs less than a thread
# unit vectors, and what was found out about the query
Resolved = tuple[Float32Array, Modality, float, tuple[Warned, ...], Completed | None]


class RetrievalService(Keeper):
    """Everything the server can do.

    Args:
        manifest: of the bundle in use; None for the fake engine.
        choice: the engine that embeds, and why it.
        preprocess: how its images are prepared.
        batcher: embeds.
        admission: says who may come in.
        store: the galleries.
        metrics: told what happens.
        timeout_s: the longest a caller waits.
        exact: whether the galleries' search misses nobody.
        building: says how the build of another engine goes; None where none is built.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        *,
        manifest: Manifest | None,
        choice: Choice,
        preprocess: Preprocess,
        batcher: Batcher,
        admission: Admission,
        store: GalleryStore,
        metrics: Metrics,
        timeout_s: float,
        exact: bool = True,
        building: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self._manifest = manifest
        self._calibration = manifest.calibration if manifest else None
        self._choice = choice
        self._engine_info, self._space_id = choice.engine.info, choice.engine.space_id
        self._preprocess = preprocess
        self._batcher = batcher
        self._admission = admission
        self._store = store
        self._metrics = metrics
        self._stages = {stage: metrics.stage_seconds.labels(stage) for stage in STAGES}
        self._timeout_s, self._exact = timeout_s, exact
        self._threads = Threads()
        self._last_embedded = -FRESH_S
        self._probing = asyncio.Lock()
        self.building = building
        metrics.tell_engine(choice)

    @property
    def space_id(self) -> str:
        """The embedding space of the bundle in use."""
        return self._space_id

    def use(self, choice: Choice) -> None:
        """Say from now on that another engine embeds, into the same space."""
        self._choice, self._engine_info = choice, choice.engine.info
        self._metrics.tell_engine(choice)

    def info(self) -> Mapping[str, Any]:
        """Describe the bundle and what runs it; no secrets."""
        named = self._manifest
        return {
            "model": {
                "name": named.name if named else "fake",
                "method": named.method if named else "fake",
                "space_id": self._space_id,
                "input": {"height": self._preprocess.height, "width": self._preprocess.width},
                "metrics": dict(named.metrics) if named else {},
                "parity": dict(named.parity) if named else {},
                "licence": named.licence if named else "",
                "calibrated": [
                    {"query": pair.query, "gallery": pair.gallery, "reliability": dict(pair.reliability)}
                    for pair in (self._calibration.pairs if self._calibration else ())
                ],
            },
            "engine": {
                "runtime": self._engine_info.runtime,
                "provider": self._engine_info.provider,
                "device": self._engine_info.device,
                "precision": self._engine_info.precision,
                **self._choice.as_json(),
                "building": self.building(),
            },
        }

    async def embed(self, query: ImageQuery, timeout_s: float | None = None) -> Embedded:
        """Embed one image.

        Raises:
            ImageError: the image cannot be used.
            Overloaded: the queue is full.
            DeadlineExceeded: the time passed first.
        """
        began = time.monotonic()
        done = await self._run(query, Lane.INTERACTIVE, timeout_s)
        return Embedded(
            vector=done.vector,
            modality=done.prepared.modality,
            confidence=done.prepared.confidence,
            warnings=self._warnings(done.prepared),
            timing=self._timing(began, done),
        )

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Find the items most like a query, exactly, among those that pass the filter.

        Raises:
            GalleryNotFound, GalleryMismatch: the gallery cannot be asked.
            InvalidRequest: a value is out of range.
            ImageError, Overloaded, DeadlineExceeded: as for ``embed``.
        """
        began = time.monotonic()
        gallery = self._store.get(request.gallery)
        check_top_k(request.top_k)
        ranking.check(request, self._calibration)
        asking.check(request)
        finding.check(gallery, request)
        request = await self._threads.reading(asking.without_own_camera, gallery, request)
        vectors, modalities, confidence, warnings, done = await self._resolve_all(gallery, request)
        told = await self._threads.reading(
            finding.find, gallery, request, vectors, modalities, self._calibration
        )
        if told.found.hits:
            self._metrics.top1_score.observe(told.found.hits[0].score)
        return SearchAnswer(
            hits=told.hits,
            modality=modalities[0],
            confidence=confidence,
            warnings=(*warnings, *told.warnings),
            items_total=told.found.items_total,
            items_searched=told.found.items_searched,
            space_id=self._space_id,
            gallery_version=told.found.version,
            centring=told.found.centring,
            timing=self._timing(began, done, told.search_s, told.rerank_s),
            exact=self._exact,
            items_lost=told.found.lost,
        )

    async def put_item(
        self,
        gallery: str,
        item_id: str,
        query: ImageQuery,
        meta: ItemMeta,
        timeout_s: float | None = None,
        expires_at: datetime | None = None,
    ) -> PutAnswer:
        """Enrol or replace one item; durable on return. The same image and metadata change nothing.

        Raises:
            InvalidRequest: a malformed id, or a time to go that has passed.
            GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot take it.
            ImageError, Overloaded, DeadlineExceeded: as for ``embed``.
        """
        began = time.monotonic()
        target = self._store.get(gallery)
        new, done = await self.prepare_item(
            target, item_id, query, meta, Lane.INTERACTIVE, timeout_s, expires_at
        )
        if isinstance(new, Item):
            return PutAnswer(new, "unchanged", self._timing(began, None))
        # told as it was stored: somebody else may have removed it since
        outcome, item = (await self._threads.writing(target.enrolled, [new]))[0]
        return PutAnswer(item, outcome, self._timing(began, done))

    async def prepare_item(  # noqa: PLR0913 - one for each thing that is known of an item
        self,
        gallery: Gallery,
        item_id: str,
        query: ImageQuery,
        meta: ItemMeta,
        lane: Lane,
        timeout_s: float | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Enrolment | Item, Completed | None]:
        """Embed one item for enrolment, or return it if the gallery holds the very same already."""
        check_item_id(item_id)
        check_meta(item_id, meta)
        check_expiry(item_id, expires_at)
        sha256 = await self._digest(query.data)
        # whoever reads an item may have to wait for a writer, who waits for the searches before
        same = await self._threads.reading(gallery.holds, item_id, sha256, query.modality, meta, expires_at)
        if same is not None:
            return same, None
        done = await self._run(query, lane, timeout_s, with_thumbnail=True)
        new = Enrolment(
            item_id=item_id,
            modality=done.prepared.modality,
            meta=meta,
            sha256=sha256,
            vector=done.vector,
            image=query.data,
            thumbnail=done.prepared.thumbnail,
            expires_at=expires_at,
        )
        return new, done

    async def check_ready(self) -> None:
        """Prove with a forward pass, unless one was made in the last seconds, that this server can embed.

        Raises:
            VireidError: it cannot.
        """
        self._admission.check_open()
        async with self._probing:  # many may ask at once; one finds out
            if time.monotonic() - self._last_embedded < FRESH_S:
                return
            grey = np.full((self._preprocess.height, self._preprocess.width, 3), 128, np.uint8)
            probe = Prepared(grey, Modality.VISIBLE, 1.0, (Modality.VISIBLE, 1.0))
            await self._batcher.submit(lambda: probe, Lane.INTERACTIVE, PROBE_TIMEOUT_S)
            self._last_embedded = time.monotonic()

    def drain(self) -> None:
        """Refuse new work; what runs goes on."""
        self._admission.drain()

    def close(self) -> None:
        """End the workers and close the galleries."""
        self._batcher.close()
        self._threads.close()
        self._store.close()

    async def _run(
        self, query: ImageQuery, lane: Lane, timeout_s: float | None, with_thumbnail: bool = False
    ) -> Completed:
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        with self._admission.admit(lane):
            try:
                done = await self._batcher.submit(
                    lambda: self._prepare(query, with_thumbnail), lane, max(limit, 0.0)
                )
            except DeadlineExceeded as error:
                self._metrics.expired.labels(error.metadata.get("stage", "queue")).inc()
                raise
        self._last_embedded = time.monotonic()
        self._admission.took((done.decode_s * done.batch_size + done.infer_s) / done.batch_size)
        self._metrics.batch_size.observe(done.batch_size)
        return done

    def _prepare(self, query: ImageQuery, with_thumbnail: bool) -> Prepared:
        rgb = decode(query.data).rgb
        found, confidence = detect(rgb)
        small = thumbnail(rgb) if with_thumbnail else None
        image = self._preprocess.apply(rgb)
        if query.modality is None:
            return Prepared(image, found, confidence, (found, confidence), small)
        return Prepared(image, query.modality, 1.0, (found, confidence), small)

    async def _resolve_all(
        self, gallery: Gallery, request: SearchRequest
    ) -> tuple[Float32Array, tuple[Modality, ...], float, tuple[Warned, ...], Completed | None]:
        """Embed every query, side by side; the confidence told is the first one's, the time that of the slowest."""
        others = request.together.queries if request.together else ()
        queries = {"query": request.query} | {
            f"together.queries[{at}]": query for at, query in enumerate(others)
        }
        each = await asyncio.gather(
            *(self._resolve(gallery, one, place, request.timeout_s) for place, one in queries.items())
        )
        warnings = tuple(dict.fromkeys(warned for one in each for warned in one[3]))
        ran = [one[4] for one in each if one[4] is not None]
        slowest = max(ran, key=lambda done: done.queue_s + done.decode_s + done.infer_s, default=None)
        kinds = tuple(one[1] for one in each)
        return np.stack([one[0] for one in each]), kinds, each[0][2], warnings, slowest

    async def _resolve(self, gallery: Gallery, query: Query, place: str, timeout_s: float | None) -> Resolved:
        if isinstance(query, ItemQuery):
            item, vector = await self._threads.reading(gallery.embedded, query.item_id)
            return vector, item.modality, 1.0, (), None
        if isinstance(query, VectorQuery):
            vector = asking.own_vector(query, self._space_id, self._choice.engine.dim, place)
            return vector, query.modality, 1.0, (), None
        done = await self._run(query, Lane.INTERACTIVE, timeout_s)
        one = done.prepared
        return done.vector, one.modality, one.confidence, self._warnings(one), done

    def _warnings(self, prepared: Prepared) -> tuple[Warned, ...]:
        found, confidence = prepared.detected
        if found is prepared.modality or confidence < SURE:
            return ()
        self._metrics.mismatches.inc()
        said = f"you said {prepared.modality.word}, but the picture looks {found.word}"
        return (Warned("MODALITY_MISMATCH", f"{said} ({confidence:.0%} sure); check the modality."),)

    def _timing(
        self, began: float, done: Completed | None, search_s: float = 0.0, rerank_s: float = 0.0
    ) -> Timing:
        total_s = time.monotonic() - began
        info = self._engine_info
        timing = Timing(
            queue_s=done.queue_s if done else 0.0,
            decode_s=done.decode_s if done else 0.0,
            infer_s=done.infer_s if done else 0.0,
            search_s=search_s,
            rerank_s=rerank_s,
            total_s=total_s,
            batch_size=done.batch_size if done else 0,
            device=f"{info.device}/{info.provider}",
        )
        for stage in STAGES:
            seconds = getattr(timing, f"{stage}_s")
            if seconds:
                self._stages[stage].observe(seconds)
        return timing

    async def _digest(self, data: bytes) -> str:
        if len(data) <= HASHED_IN_PLACE:
            return hashlib.sha256(data).hexdigest()
        return (await self._threads.reading(hashlib.sha256, data)).hexdigest()
