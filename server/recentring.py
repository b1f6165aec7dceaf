"""Centrings of galleries as jobs: tried, put in use, or taken back. Knows no transport.

Searches go on meanwhile; changes wait, while vectors are read and while another index is made of them.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from index import centring
from index.centres import check_strength
from index.gallery import Gallery
from server.jobs import Job, JobBoard
from server.service import RetrievalService
from vireid.errors import Cancelled
from vireid.types import Centring, CentringTrial

KIND = "centring"
# told whether nobody wants it any more; what came of it
Work = Callable[[threading.Event], Centring | CentringTrial | None]


def start_centring(
    service: RetrievalService, board: JobBoard, gallery: str, strength: float, half: bool
) -> Job:
    """Begin to centre a gallery by the means of its own vectors.

    Args:
        service: holds the gallery.
        board: runs the work; one such job, copy or evaluation at a time.
        gallery: its name.
        strength: how much of each mean is taken off.
        half: leave a modality as it came that has too few vectors.

    Raises:
        InvalidRequest: a strength that is not above 0 to 1.
        GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot be asked.
        Overloaded, Unavailable: there is no room for a job.
    """
    check_strength(strength)
    held = service.gallery(gallery)

    def work(left: threading.Event) -> Centring | None:
        centres = centring.learn(held.records).centres(strength, half)
        _check(left)
        held.centre(centres)
        return _told(held)

    return _start(board, work, "centred")


def start_return(service: RetrievalService, board: JobBoard, gallery: str) -> Job:
    """Begin to go back to what was before a gallery's last centring; the arguments are those of ``start_centring``.

    Raises:
        GalleryNotFound, GalleryMismatch, StorageError: the gallery cannot be asked.
        Overloaded, Unavailable: there is no room for a job.
    """
    held = service.gallery(gallery)

    def work(left: threading.Event) -> Centring | None:
        _check(left)
        held.uncentre()
        return _told(held)

    return _start(board, work, "gone back")


def start_trial(service: RetrievalService, board: JobBoard, gallery: str, strength: float, half: bool) -> Job:
    """Begin to measure what a centring would bring, which changes nothing; see ``start_centring``."""
    check_strength(strength)
    held = service.gallery(gallery)

    def work(left: threading.Event) -> CentringTrial:
        means, before = centring.learn(held.records), held.centres
        after = means.centres(strength, half)
        _check(left)
        found = centring.stored(held.records)
        _check(left)
        return centring.trial(found, means, before, after)

    return _start(board, work, "tried")


def as_json(told: Centring | None) -> dict[str, Any] | None:
    """Say how a gallery is centred, in words that JSON has."""
    if told is None:
        return None
    return {
        "version": told.version,
        "since": told.since.isoformat() if told.since else None,
        "strength": told.strength,
        "visible": told.visible,
        "infrared": told.infrared,
    }


def _start(board: JobBoard, work: Work, outcome: str) -> Job:
    async def run(job: Job) -> Mapping[str, Any]:
        job.total = 1
        left = threading.Event()
        doing = asyncio.ensure_future(asyncio.to_thread(work, left))
        while not doing.done():
            try:
                await asyncio.wait({doing})
            except asyncio.CancelledError:  # a change that has begun cannot be stopped half way
                left.set()
        try:
            job.value = doing.result()
        except Cancelled:
            raise asyncio.CancelledError from None
        job.count(outcome)
        return (
            _trial_as_json(job.value)
            if isinstance(job.value, CentringTrial)
            else {"centring": as_json(job.value)}
        )

    return board.start(KIND, run, lambda: None, alone=True)


def _check(left: threading.Event) -> None:
    if left.is_set():
        raise Cancelled("the centring was asked to stop")


def _told(gallery: Gallery) -> Centring | None:
    return gallery.info().centring


def _trial_as_json(trial: CentringTrial) -> dict[str, Any]:
    return {
        "before": as_json(trial.before),
        "after": as_json(trial.after),
        "across": [
            {
                "asks": one.asks.word,
                "queries": one.queries,
                "mAP": {"before": one.mean_ap[0], "after": one.mean_ap[1]},
                "rank1": {"before": one.rank1[0], "after": one.rank1[1]},
            }
            for one in trial.across
        ],
        "gap": {"before": asdict(trial.gap[0]), "after": asdict(trial.gap[1])},
    }
