"""Jaccard distances, ours beside the published dense procedure: CPU seconds on one thread, and peak memory.

Each run is a process of its own (``jaccard_once``), so that its peak is its own. Ours ends with the graph of the
distances up to 0.62 that clustering takes, the peer's with the whole table; within that radius the two must agree
where they are given the same neighbours.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from learning.goal import Goal

ONCE = Path(__file__).with_name("jaccard_once.py")
USUAL, QUICK, LARGE = 12_000, 4_000, 34_000
LEAST_RATIO, MOST_USUAL_GB, MOST_LARGE_GB = 5.0, 1.2, 4.0
ROUNDS = 3
MOST_OTHER = 1e-5  # share of the pairs


def goals(quick: bool) -> Iterable[Goal]:
    """Measure; a quick run has 4,000 images instead of 12,000 beside the peer, and one round.

    Yields:
        The ratio of CPU seconds, agreement, and the peaks at 12,000 and 34,000 images in GB.
    """
    count = QUICK if quick else USUAL
    ratios, last = [], {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for _ in range(1 if quick else ROUNDS):
            peer = _child("dense", count, place)
            last = _child("sparse", count, place)
            ratios.append(peer["cpu_s"] / last["cpu_s"])
    ratio = statistics.median(ratios)
    yield Goal.at_least(
        "jaccard_against_dense",
        ratio,
        LEAST_RATIO,
        f"{count} x 256: {last['cpu_s']:.2f} s, {last['peak_gb']:.2f} GB; the published procedure "
        f"{peer['cpu_s']:.2f} s, {peer['peak_gb']:.2f} GB",
    )
    yield Goal.at_most(
        "jaccard_pairs_that_differ",
        last["differ"],
        MOST_OTHER,
        f"of {last['pairs']:.0f} pairs within 0.62; by more than 1e-5",
    )
    for size, most in ((USUAL, MOST_USUAL_GB), (LARGE, MOST_LARGE_GB)):
        alone = _child("sparse", size, None)
        yield Goal.at_most(
            f"jaccard_{size}_peak_gb",
            alone["peak_gb"],
            most,
            f"{size} x 256: {alone['cpu_s']:.2f} s, {alone['pairs']:.0f} pairs",
        )


def _child(way: str, count: int, folder: Path | None) -> dict[str, float]:
    command = [sys.executable, str(ONCE), way, str(count), str(folder or "")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
