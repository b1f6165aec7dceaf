"""What a table says of each group, as numbers and plain words. Knows no markup and no pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training import methods
from training.comparison.groups import Group, Section, apart
from training.comparison.measured import Measured
from training.report import words
from vireid.types import Modality

ACCURACY, ARI = "label accuracy", "label ARI"
SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Number:
    """A number over the runs of a group.

    Attributes:
        mean: of the runs.
        std: standard deviation of one run (n - 1); None of a single run.
    """

    mean: float
    std: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A group.

    Attributes:
        number: it has this number in the pictures.
        name: the method, with its setting.
        apart: what sets it apart from others of the same method, empty if there is none.
        facts: what ran, in words by name.
        scores: shares of 1, by the names of the measures.
        labels: of the last epoch's labels, shares of 1; accuracy is that of images whose persons the method was not
            told. Empty where there were none.
        seconds: of an epoch, without its evaluation; None where no epoch was timed.
        runs: names of the runs.
        marks: what a reader must know before comparing: chosen on the test images, not finished.
    """

    number: int
    name: str
    apart: str
    facts: Mapping[str, str]
    scores: Mapping[str, Number]
    labels: Mapping[str, Number]
    seconds: Number | None
    runs: tuple[str, ...]
    marks: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its name, and what sets it apart."""
        return f"{self.name}, {self.apart}" if self.apart else self.name


def rows(section: Section, begin: int = 1) -> tuple[Row, ...]:
    """Describe the groups of a section.

    Args:
        section: what was measured alike.
        begin: number of the first.
    """
    differing = _apart(section.groups)
    return tuple(
        Row(
            number=number,
            name=words.called(group.first.settings),
            apart=differing[number - begin],
            facts=_facts(group),
            scores=_scores(group.runs),
            labels=_labels(group.runs),
            seconds=_seconds(group.runs),
            runs=tuple(run.name for run in group.runs),
            marks=_marks(group),
        )
        for number, group in enumerate(section.groups, start=begin)
    )


def known(run: Measured) -> str:
    """Say whose persons a run was told."""
    told = methods.METHODS[run.settings.method.name].told(run.settings.method)
    who = "all" if len(told) == len(Modality) else " and ".join(kind.word for kind in told) or "nobody"
    source = run.origin.get("source")
    return f"{who}, and all of {source['name']}" if source else who


def _apart(groups: Sequence[Group]) -> list[str]:
    """Say what tells groups of the same method and setting apart; epochs and the like have places of their own."""
    said = [""] * len(groups)
    by_name: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        by_name.setdefault(words.called(group.first.settings), []).append(place)
    for places in by_name.values():
        for place, differing in zip(places, apart([groups[place] for place in places]), strict=True):
            said[place] = ", ".join(f"{key} = {_value(value)}" for key, value in differing.items())
    return said


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "on", False: "off", None: "not there"}[value]
    return str(value).partition(" sha256:")[0]


def _facts(group: Group) -> dict[str, str]:
    first, settings = group.first, group.first.settings
    data = settings.data
    views = ", visible ones twice" if data.views == 2 else ""
    batches = f", {settings.accumulate} batches" if settings.accumulate > 1 else ""
    return {
        "Persons known": known(first),
        "Network": words.network(settings),
        "Epochs": _span([run.epoch for run in group.runs]),
        "Steps of an epoch": str(settings.iterations) if settings.iterations else "every image about once",
        "Images of a step": f"{data.persons} x {data.images} of each modality{views}{batches}",
        "Start": words.begun(first.origin),
        "Seeds": ", ".join(map(str, sorted({run.settings.seed for run in group.runs}))),
        "Weights": "best epoch on the test images" if settings.select == "best_on_test" else "last epoch",
    }


def _marks(group: Group) -> tuple[str, ...]:
    marks = []
    if group.first.settings.select == "best_on_test":
        marks.append("its epoch was chosen on the test images that are reported: no fair score")
    cut = [run for run in group.runs if not run.finished]
    if cut:
        told = ", ".join(f"{run.name} ({run.history.epochs} of {run.settings.epochs} epochs)" for run in cut)
        marks.append(f"not finished: {told}")
    if len({_chance(run) for run in group.runs}) < len(group.runs):
        marks.append(
            "some of its runs have one seed and the same data: its deviation is smaller than that of seeds"
        )
    return tuple(marks)


def _chance(run: Measured) -> str:
    """Say what may tell a run from others of its recipe."""
    return json.dumps([run.settings.seed, run.settings.data.trial, run.data], sort_keys=True)


def _scores(runs: Sequence[Measured]) -> dict[str, Number]:
    names = [name for name in runs[0].scores["mean"] if all(name in run.scores["mean"] for run in runs)]
    return {words.measure(name): number([float(run.scores["mean"][name]) for run in runs]) for name in names}


def _labels(runs: Sequence[Measured]) -> dict[str, Number]:
    """Return what the last labels were worth, where every run has some."""
    told = methods.METHODS[runs[0].settings.method.name].told(runs[0].settings.method)
    untold = [kind.word for kind in Modality if kind not in told]
    which = untold[0] if len(untold) == 1 else "all"
    wanted = {ACCURACY: f"labels/accuracy/{which}", ARI: "labels/ari"}
    return {
        name: number([run.history.series[key].values[-1] for run in runs])
        for name, key in wanted.items()
        if all(key in run.history.series for run in runs)
    }


def _seconds(runs: Sequence[Measured]) -> Number | None:
    if not all(SECONDS in run.history.series for run in runs):
        return None
    return number([float(np.mean(run.history.series[SECONDS].values)) for run in runs])


def number(values: Sequence[float]) -> Number:
    """Return mean and deviation."""
    return Number(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
