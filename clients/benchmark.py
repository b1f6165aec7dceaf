"""How well and how fast a server finds people: latency, throughput, Rank-k and mAP over a labelled folder.

Everything is measured from outside, on the hits that come back, in plain Python. Knows no wire.
"""

import itertools
import math
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from clients.base import Client
from clients.replies import SearchReply
from vireid.errors import EvaluationError, VireidError
from vireid.image_folder import Entry

MOST_HITS = 1000
RANKS = (1, 5, 10)

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """How the server is asked.

    Attributes:
        concurrency: callers at once.
        rounds: how often each query is asked; the first round also gives the accuracy.
        rate: queries a second, however long the answers take (open loop); None asks again as soon as the
            answer is there (closed loop).
    """

    concurrency: int = 1
    rounds: int = 1
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One query's outcome.

    Attributes:
        latency_s: from when it was due until its answer, or its error, was there.
        reply: the answer, None if it failed.
        reason: why it failed, empty if it did not.
    """

    latency_s: float
    reply: SearchReply | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well people were found.

    Attributes:
        rank: k -> share of queries whose first k hits hold the person.
        mean_ap: mean average precision; hits beyond those asked for count as not found.
        queries: queries that could be answered, as someone in the gallery matches.
        depth: hits asked for.
        complete: whether the hits could hold the whole gallery, so that ``mean_ap`` is exact.
    """

    rank: Mapping[int, float]
    mean_ap: float
    queries: int
    depth: int
    complete: bool


def ask(
    client: Client, gallery: str, queries: Sequence[Entry], depth: int, load: Load, advance: Advance
) -> tuple[list[Asked], float]:
    """Ask every query, every round.

    Args:
        client: where to.
        gallery: which gallery.
        queries: what to ask.
        depth: hits to ask for.
        load: how.
        advance: told of each answer.

    Returns:
        The outcomes, round by round in the order of ``queries``, and the seconds it took.
    """
    pictures = [entry.path.read_bytes() for entry in queries]
    total = len(queries) * load.rounds
    outcomes: list[Asked | None] = [None] * total
    ticket = itertools.count()
    lock = threading.Lock()
    began = time.perf_counter()

    def caller() -> None:
        while (number := next(ticket)) < total:
            place = number % len(queries)
            due = time.perf_counter()
            if load.rate is not None:
                due = began + number / load.rate
                time.sleep(max(0.0, due - time.perf_counter()))
            reply, reason = None, ""
            try:
                reply = client.search(gallery, pictures[place], top_k=depth, modality=queries[place].modality)
            except VireidError as error:
                reason = error.stable_reason
            outcomes[number] = Asked(time.perf_counter() - due, reply, reason)
            with lock:
                advance(1)

    with ThreadPoolExecutor(load.concurrency, thread_name_prefix="vireid-bench") as pool:
        for running in [pool.submit(caller) for _ in range(load.concurrency)]:
            running.result()
    took_s = time.perf_counter() - began
    return [outcome for outcome in outcomes if outcome is not None], took_s


def accuracy(
    queries: Sequence[Entry], gallery: Sequence[Entry], asked: Sequence[Asked], depth: int
) -> Accuracy:
    """Score one round of answers; a gallery image of the query's own person and camera is left out.

    Args:
        queries: what was asked.
        gallery: what was enrolled.
        asked: the answers, in the order of ``queries``; one that failed finds nobody.
        depth: hits asked for.

    Raises:
        EvaluationError: nobody asked for is in the gallery.
    """
    label = {entry.item_id: (entry.meta.person, entry.meta.camera) for entry in gallery}
    persons = Counter(person for person, _ in label.values())
    pairs = Counter(label.values())
    found_at: list[float] = []
    precisions: list[float] = []
    for query, outcome in zip(queries, asked, strict=True):
        own = (query.meta.person, query.meta.camera)
        relevant = persons[query.meta.person] - pairs[own]
        if relevant == 0:
            continue
        hits = () if outcome.reply is None else outcome.reply.hits
        ranked = [label.get(hit.item.item_id, ("", "")) for hit in hits]
        matches = [person == query.meta.person for person, camera in ranked if (person, camera) != own]
        ranks = [rank for rank, match in enumerate(matches, start=1) if match]
        found_at.append(ranks[0] if ranks else math.inf)
        precisions.append(sum(n / rank for n, rank in enumerate(ranks, start=1)) / relevant)
    if not found_at:
        raise EvaluationError(
            "no query's person is in the gallery under another camera; nothing can be scored"
        )
    return Accuracy(
        rank={k: sum(rank <= k for rank in found_at) / len(found_at) for k in RANKS},
        mean_ap=statistics.fmean(precisions),
        queries=len(found_at),
        depth=depth,
        complete=depth >= len(label),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_ms(asked: Sequence[Asked]) -> dict[str, float]:
    """Describe the latency of what was answered, in milliseconds; empty if nothing was."""
    times = [outcome.latency_s * 1e3 for outcome in asked if outcome.reply is not None]
    if not times:
        return {}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {"mean": statistics.fmean(times)} | {name: percentile(times, s) for name, s in shares.items()}


def stages_ms(asked: Sequence[Asked]) -> dict[str, float]:
    """Describe where the server says the time went: each stage's mean, in milliseconds."""
    timings = [outcome.reply.timing for outcome in asked if outcome.reply is not None]
    if not timings:
        return {}
    return {
        "queue": statistics.fmean(t.queue_s for t in timings) * 1e3,
        "decode": statistics.fmean(t.decode_s for t in timings) * 1e3,
        "infer": statistics.fmean(t.infer_s for t in timings) * 1e3,
        "search": statistics.fmean(t.search_s for t in timings) * 1e3,
        "total": statistics.fmean(t.total_s for t in timings) * 1e3,
    }
