"""A benchmark: enrol a dataset, ask with every query, then let more and more callers ask for a while.

Everything is measured from outside, on the answers that come back. Knows no wire, no folder and no printing.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clients import accuracy, stretch
from clients.accuracy import CmcLevel, Rule
from clients.base import Client
from clients.bench_data import BenchData
from clients.bench_target import Target
from clients.call import image_bytes
from clients.replies import Embedding, SearchReply, Timing
from clients.retry import NEVER
from clients.stretch import Ask, Load
from clients.temporary_gallery import temporary_gallery
from clients.upload import SIDE_BY_SIDE, UploadReport, upload
from vireid import progress
from vireid.errors import BodyTooLarge, EvaluationError, ImageError, InvalidRequest
from vireid.image_folder import Entry

MOST_HITS = 1000
MOST_PICTURES = 128  # different images that the timed calls take turns with

What = Literal["embed", "search", "search_vector"]
CALLS: dict[What, str] = {
    "embed": "image to embedding",
    "search": "image to hits",
    "search_vector": "embedding to hits",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how.

    Attributes:
        clients: numbers of callers, each a stretch of its own.
        load: how a stretch asks.
        top_k: hits a timed search asks for.
        rule: what a query does not see.
        cmc: what ranks count.
        gallery: name of the gallery; empty makes one up.
    """

    clients: tuple[int, ...]
    load: Load
    top_k: int
    rule: Rule
    cmc: CmcLevel
    gallery: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A query that can be asked again and again: its picture and what the server made of it."""

    entry: Entry
    picture: bytes
    vector: Embedding


def measure(target: Target, data: BenchData, plan: Plan, warn: Callable[[str], None]) -> dict[str, Any]:
    """Measure a server with a dataset, in a gallery that is gone afterwards.

    Args:
        target: the server.
        data: the dataset.
        plan: what to measure.
        warn: told what does not end the benchmark.

    Returns:
        ``space_id``, ``first_answer_at`` (by ``time.perf_counter``), ``enrol``, ``accuracy``, ``speed``.

    Raises:
        EvaluationError: nothing can be scored.
        VireidError: what the server raised, or that it is away.
    """
    wire = target.wires[0]
    with target.connect(wire) as client:
        first = client.embed(data.queries[0].path, data.queries[0].modality)
        answered_at = time.perf_counter()
        with temporary_gallery(client, plan.gallery, warn) as gallery:
            enrolled, found = enrol(client, gallery, data.gallery)
            replies, refused = ask_all(client, gallery, data.queries, len(found))
            scored = accuracy.score(
                data.queries, found, replies, rule=plan.rule, cmc=plan.cmc, depth=depth_of(len(found))
            )
            answered = [entry for entry, reply in zip(data.queries, replies, strict=True) if reply]
            speed = time_calls(target, gallery, sample(client, answered), plan)
    return {
        "space_id": first.space_id,
        "first_answer_at": answered_at,
        "enrol": enrolled | {"wire": wire},
        "accuracy": asdict(scored) | {"wire": wire, "errors": refused},
        "speed": speed,
    }


def depth_of(gallery: int) -> int:
    """Say how many hits to ask for: all there are, or as many as a server gives."""
    return min(gallery, MOST_HITS)


def enrol(client: Client, gallery: str, entries: Sequence[Entry]) -> tuple[dict[str, Any], list[Entry]]:
    """Put the images into the gallery.

    Returns:
        Figures, and the images that are in it now.

    Raises:
        EvaluationError: the server took none of them.
    """
    began = time.perf_counter()
    with progress.bar("enrolling", total=len(entries)) as advance:
        done: UploadReport = upload(client, gallery, entries, advance=advance)
    took_s = time.perf_counter() - began
    refused = {failure.item_id for failure in done.failures}
    found = [entry for entry in entries if entry.item_id not in refused]
    if not found:
        raise EvaluationError(
            f"the server took none of the {len(entries)} gallery images; the first: {done.failures[0].message}"
        )
    figures = {
        "images": len(entries),
        "created": done.created,
        "refused": [asdict(failure) for failure in done.failures],
        "side_by_side": SIDE_BY_SIDE,
        "seconds": took_s,
        "images_per_s": done.created / took_s,
    }
    return figures, found


def ask_all(
    client: Client, gallery: str, queries: Sequence[Entry], size: int
) -> tuple[list[SearchReply | None], dict[str, int]]:
    """Ask with every query once, for the accuracy.

    Returns:
        The answers, None where the image was refused, and how many were refused for which reason.

    Raises:
        EvaluationError: every one was.
        VireidError: something that is no single image's fault.
    """
    refused: Counter[str] = Counter()

    def ask(entry: Entry) -> SearchReply | None:
        try:
            return client.search(gallery, entry.path, top_k=depth_of(size), modality=entry.modality)
        except (ImageError, InvalidRequest, BodyTooLarge) as error:
            refused[error.stable_reason] += 1
            return None

    with (
        progress.bar("asking", total=len(queries)) as advance,
        ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="vireid-bench") as pool,
    ):
        waiting = [pool.submit(ask, entry) for entry in queries]
        replies = []
        try:
            for done in waiting:
                replies.append(done.result())
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if not any(replies):
        raise EvaluationError(f"the server took none of the {len(queries)} queries: {dict(refused)}")
    return replies, dict(refused)


def sample(client: Client, answered: Sequence[Entry]) -> list[Sample]:
    """Choose the queries of the timed calls, evenly over all, and have them embedded."""
    step = max(1, len(answered) // MOST_PICTURES)
    chosen = answered[::step][:MOST_PICTURES]
    return [
        Sample(entry, image_bytes(entry.path), client.embed(entry.path, entry.modality)) for entry in chosen
    ]


def time_calls(target: Target, gallery: str, samples: Sequence[Sample], plan: Plan) -> list[dict[str, Any]]:
    """Time every call over every wire with every number of callers; figures of each stretch."""
    stretches = [(wire, callers, what) for wire in target.wires for callers in plan.clients for what in CALLS]
    figures = []
    with progress.bar("measuring, in seconds", total=len(stretches) * plan.load.ticks) as advance:
        for wire, callers, what in stretches:
            with ExitStack() as connections:
                clients = [
                    connections.enter_context(target.connect(wire, retry=NEVER)) for _ in range(callers)
                ]
                asks = [asking(client, what, gallery, samples, plan.top_k) for client in clients]
                done = stretch.run(asks, plan.load, advance)
            named = {"call": what, "wire": wire, "clients": callers}
            how = {
                "loop": "closed" if plan.load.rate is None else "open",
                "rate": plan.load.rate,
                "warm_up_s": plan.load.warm_up_s,
                "top_k": None if what == "embed" else plan.top_k,
            }
            figures.append(named | how | done.figures())
    return figures


def asking(client: Client, what: What, gallery: str, samples: Sequence[Sample], top_k: int) -> Ask:
    """Make the function that makes the call of a number."""

    def embed(number: int) -> Timing | None:
        chosen = samples[number % len(samples)]
        client.embed(chosen.picture, chosen.entry.modality)
        return None

    def search(number: int) -> Timing | None:
        chosen = samples[number % len(samples)]
        return client.search(gallery, chosen.picture, top_k=top_k, modality=chosen.entry.modality).timing

    def search_vector(number: int) -> Timing | None:
        return client.search(gallery, samples[number % len(samples)].vector, top_k=top_k).timing

    calls: dict[What, Ask] = {"embed": embed, "search": search, "search_vector": search_vector}
    return calls[what]
