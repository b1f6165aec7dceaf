"""Counting CMC, mAP and mINP of ready distances: the evaluator beside what the field runs.

    python benchmarks/evaluation.py --quick --json evaluation.json

Two peers, in the same process, each on the layout and the precision it likes, everything on one thread and
in CPU seconds, rounds alternating, a ratio being the median over rounds. What they answer must agree.

- The Python loop over queries that published evaluation scripts share, in our own words (``generators/loop.py``).
- The compiled ranker of torchreid or fast-reid. Neither is on the package index with it, so build it and put
  its folder on PYTHONPATH: in a checkout of torchreid, ``cd torchreid/metrics/rank_cylib`` (of fast-reid,
  ``cd fastreid/evaluation/rank_cylib``) and ``python setup.py build_ext --inplace``. Without one, its goals
  are skipped, which is no pass.

The compiled rankers know the Market rule and count images; both rankers are timed on that question, and ours
also on the one SYSU-MM01 asks (its rooms, ranks by persons), which costs more and has the same goal.
"""

import gc
import importlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numba
import numpy as np
import typer
from generators.loop import sysu_loop

from clients import machine
from vireid.evaluation.metrics import Labels, Scores, scores

RANKERS = ("torchreid.metrics.rank_cylib.rank_cy", "fastreid.evaluation.rank_cylib.rank_cy", "rank_cy")
DIM, RANKS = 64, 20
SPREAD = 1.55  # of a person's images: rank 1 near 0.6, as good models have it
LEAST_AGAINST_LOOP, LEAST_MULTI, LEAST_LARGE = 200.0, 5.0, 15.0
MOST_MB = 200.0
# SYSU-MM01's test set: persons and images of the night cameras, persons of the day cameras
NIGHT, DAY = {3: (93, 1883), 6: (96, 1920)}, {1: 56, 2: 56, 4: 94, 5: 95}

Ranker = Callable[..., Any]


@dataclass(frozen=True)
class Problem:
    """Similarities and who is on them."""

    similarity: np.ndarray
    query: Labels
    gallery: Labels


@dataclass(frozen=True)
class Verdict:
    """A goal and whether it is met; a ratio of None is one that could not be measured."""

    name: str
    ratio: float | None
    goal: str

    @property
    def outcome(self) -> str:
        """Say pass, miss or skip."""
        if self.ratio is None:
            return "skip"
        limit = float(self.goal[2:])
        return (
            "pass" if (self.ratio >= limit if self.goal.startswith(">=") else self.ratio <= limit) else "miss"
        )

    def line(self) -> str:
        """Say it in one line."""
        return f"{self.name} {'-' if self.ratio is None else f'{self.ratio:.3g}'} {self.goal} {self.outcome}"


# ---- problems ----------------------------------------------------------------
def labels(person: np.ndarray, camera: np.ndarray) -> Labels:
    """Make labels of any whole numbers."""
    return Labels(person.astype(np.int64), camera.astype(np.int64))


def sysu(random: np.random.Generator, shots: int, kind: type) -> Problem:
    """Draw features of SYSU-MM01's counts, all-search: 3803 x 301 for one shot, x 3010 for ten."""
    query = labels(
        np.concatenate([np.arange(images) % persons for persons, images in NIGHT.values()]),
        np.concatenate([np.full(images, camera) for camera, (_, images) in NIGHT.items()]),
    )
    gallery = labels(
        np.concatenate([np.repeat(np.arange(persons), shots) for persons in DAY.values()]),
        np.concatenate([np.full(persons * shots, camera) for camera, persons in DAY.items()]),
    )
    return problem(random, query, gallery, kind)


def large(random: np.random.Generator, size: int) -> Problem:
    """Draw a square problem of ten images a person, from six cameras."""
    sides = [labels(np.arange(size) // 10, random.integers(1, 7, size)) for _ in range(2)]
    return problem(random, sides[0], sides[1], np.float32)


def problem(random: np.random.Generator, query: Labels, gallery: Labels, kind: type) -> Problem:
    """Draw unit features around their persons and compare them."""
    centre = random.standard_normal((int(max(query.person.max(), gallery.person.max())) + 1, DIM))
    q, g = (
        centre[side.person] + SPREAD * random.standard_normal((len(side), DIM)) for side in (query, gallery)
    )
    q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    return Problem(q.astype(kind) @ g.astype(kind).T, query, gallery)


# ---- timing ------------------------------------------------------------------
def cpu_s(action: Callable[[], object]) -> float:
    """Time one call."""
    gc.collect()
    began = time.process_time()
    action()
    return time.process_time() - began


def against(rounds: int, peer: Callable[[], object], **own: Callable[[], object]) -> dict[str, Any]:
    """Alternate between a peer and one or more ways of ours; the peer's ratio to each is over its own round."""
    for action in own.values():
        action()  # loads what is compiled
    peers, ours, ratios = [], {name: [] for name in own}, {name: [] for name in own}
    for _ in range(rounds):
        peers.append(cpu_s(peer))
        for name, action in own.items():
            seconds = statistics.median(cpu_s(action) for _ in range(5))
            ours[name].append(seconds)
            ratios[name].append(peers[-1] / seconds)
    return {
        "peer_s": statistics.median(peers),
        "own_s": {name: statistics.median(seconds) for name, seconds in ours.items()},
        "ratio": {name: statistics.median(values) for name, values in ratios.items()},
    }


# ---- the four measurements ---------------------------------------------------
def measure_loop(rounds: int) -> tuple[dict[str, Any], list[Verdict]]:
    """Ten single-shot trials of SYSU-MM01 beside the Python loop."""
    trials = [sysu(np.random.default_rng(trial), 1, np.float64) for trial in range(10)]
    distances = [-trial.similarity for trial in trials]
    for trial, distance in zip(trials[:2], distances, strict=False):
        curve, mean_ap, mean_inp = sysu_loop(distance, trial.query, trial.gallery, RANKS)
        agree(scores(trial.similarity, trial.query, trial.gallery, "sysu"), curve, mean_ap, 1e-9)
        assert abs(scores(trial.similarity, trial.query, trial.gallery, "sysu").mean_inp - mean_inp) < 1e-9
    figures = accuracy(scores(trials[0].similarity, trials[0].query, trials[0].gallery, "sysu")) | against(
        rounds,
        lambda: [
            sysu_loop(distance, trial.query, trial.gallery, RANKS)
            for trial, distance in zip(trials, distances, strict=True)
        ],
        ours=lambda: [scores(trial.similarity, trial.query, trial.gallery, "sysu") for trial in trials],
    )
    goal = f">={LEAST_AGAINST_LOOP:g}"
    return figures, [Verdict("single_shot_10_trials_against_loop", figures["ratio"]["ours"], goal)]


def measure_ranker(
    name: str, case: Problem, ranker: Ranker | None, rounds: int, least: float
) -> tuple[dict[str, Any], list[Verdict]]:
    """Time a problem beside the compiled ranker: the same question, and that of SYSU-MM01."""
    ways = {
        "same_question": lambda: scores(case.similarity, case.query, case.gallery, "market", "image"),
        "by_persons": lambda: scores(case.similarity, case.query, case.gallery, "sysu", "identity"),
    }
    if ranker is None:
        figures: dict[str, Any] = {"own_s": {}}
        for way, action in ways.items():
            action()
            figures["own_s"][way] = statistics.median(cpu_s(action) for _ in range(5))
        ratios: dict[str, float | None] = dict.fromkeys(ways)
    else:
        distance = -case.similarity
        peer = (distance, case.query.person, case.gallery.person, case.query.camera, case.gallery.camera)
        curve, mean_ap, *_ = ranker(*peer, RANKS)
        agree(ways["same_question"](), curve, float(np.mean(mean_ap)), 2e-5)
        figures = against(rounds, lambda: ranker(*peer, RANKS), **ways)
        ratios = figures["ratio"]
    figures = accuracy(ways["by_persons"]()) | figures
    verdicts = [
        Verdict(f"{name}_against_compiled_{way}", ratio, f">={least:g}") for way, ratio in ratios.items()
    ]
    return figures, verdicts


def accuracy(found: Scores) -> dict[str, Any]:
    """Tell how hard the problem is: an easy one leaves less to count."""
    return {"rank_1": found.rank(1), "mean_ap": found.mean_ap}


def agree(own: Scores, curve: np.ndarray, mean_ap: float, tolerance: float) -> None:
    """See that what is timed gives the same answer."""
    worst = max(float(np.abs(own.cmc[: len(curve)] - curve).max()), abs(own.mean_ap - mean_ap))
    if worst > tolerance:
        raise SystemExit(f"the evaluators differ by {worst:.2g}, more than {tolerance:g}; nothing was timed")


def measure_memory(size: int, kind: type) -> float:
    """Score a square problem in a process that has done nothing else; megabytes at the peak beyond its input.

    Counts all that evaluation brings, the compiler's library too.
    """
    before = held_mb("VmRSS")
    random = np.random.default_rng(0)
    similarity = np.empty((size, size), kind)
    for row in similarity:
        random.random(out=row, dtype=kind)
    person = labels(np.arange(size) // 10, np.arange(size) % 6 + 1)
    scores(similarity, person, person, "sysu")
    return held_mb("VmHWM") - before - similarity.nbytes / 1e6


def held_mb(field: str) -> float:
    """Read what this process holds (VmRSS) or has held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


# ---- the command -------------------------------------------------------------
def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    size: Annotated[int, typer.Option(help="Queries and gallery images of the large problem.")] = 10_000,
    rounds: Annotated[int, typer.Option(help="How often the two alternate; 0 for the usual.")] = 0,
) -> None:
    """Measure the evaluator against its peers; exit 1 if a goal is missed."""
    memory = {kind.__name__: measure_memory(size, kind) for kind in (np.float32, np.float64)}
    verdicts = [Verdict("memory_beyond_input_mb", max(memory.values()), f"<={MOST_MB:g}")]
    name, ranker = find_ranker()
    figures: dict[str, Any] = {"memory_beyond_input_mb": memory}
    random = np.random.default_rng(0)
    figures["single_shot"], found = measure_loop(rounds or (1 if quick else 5))
    verdicts += found
    for case_name, case, least, usual in (
        ("multi_shot", sysu(random, 10, np.float32), LEAST_MULTI, 5),
        (f"{size}_x_{size}", large(random, size), LEAST_LARGE, 1 if quick else 5),
    ):
        figures[case_name], found = measure_ranker(case_name, case, ranker, rounds or usual, least)
        verdicts += found
    document = {
        "benchmark": "evaluation", "compiled_ranker": name, "cpu": machine.describe()["cpu"], "load": os.getloadavg()[0],
        "numba": numba.__version__, "numpy": np.__version__, "python": platform.python_version(),
        "figures": figures, "goals": [vars(verdict) | {"outcome": verdict.outcome} for verdict in verdicts],
    }  # fmt: skip
    report(document)
    for verdict in verdicts:
        print(verdict.line())
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise SystemExit(1 if any(verdict.outcome == "miss" for verdict in verdicts) else 0)


def find_ranker() -> tuple[str, Ranker | None]:
    """Import a compiled ranker, if there is one."""
    for name in RANKERS:
        try:
            ranker: Ranker = importlib.import_module(name).evaluate_cy
        except ImportError:
            continue
        return name, ranker
    return "", None


def report(document: dict[str, Any]) -> None:
    """Print where this ran and the seconds."""
    for word in ("cpu", "load", "numba", "numpy", "python"):
        print(f"{word:16} {document[word]}")
    print(f"{'compiled ranker':16} {document['compiled_ranker'] or 'none found: its goals are skipped'}")
    for name, figures in document["figures"].items():
        if "own_s" in figures:
            peer = f"{figures['peer_s']:9.3f} CPU s" if "peer_s" in figures else "        -"
            print(f"{name:16} peer {peer}  (rank 1 {figures['rank_1']:.3f}, mAP {figures['mean_ap']:.3f})")
            for way, seconds in figures["own_s"].items():
                print(f"{'':16} ours {seconds:9.4f} CPU s  {way}")


if __name__ == "__main__":
    typer.run(main)
