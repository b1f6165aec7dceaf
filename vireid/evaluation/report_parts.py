"""What the HTML report says, as plain words and numbers in the order they are shown. Knows no markup."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.protocol import Protocol
from vireid.evaluation.ranked_lists import Group, RankedList
from vireid.evaluation.result import Result
from vireid.images.thumbnail import thumbnail
from vireid.types import Sample

SIDE = 160  # pixels of a thumbnail
RATES = (0.1, 0.01, 0.001)  # FPIR that misses are told for

_GROUPS: Mapping[Group, str] = {
    "best": "Best queries",
    "median": "Median queries",
    "worst": "Worst queries",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A line of the headline table, in percent.

    Attributes:
        name: of the measure.
        mean: of the trials.
        std: standard deviation of one trial; empty where there is one.
        lowest: of the trials; empty where there is one.
        highest: of the trials; empty where there is one.
        share: the mean as a fraction, for a bar.
    """

    name: str
    mean: str
    std: str
    lowest: str
    highest: str
    share: float


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of a ranked list; ``source`` is a data URL, empty where there is no image."""

    source: str
    camera: str
    rank: int = 0
    score: str = ""
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A query and its first answers."""

    about: str
    query: Tile
    answers: tuple[Tile, ...]


def names(result: Result) -> tuple[str, ...]:
    """Name the measures that are reported."""
    return (*(f"Rank {r}" for r in result.ranks), "mAP", "mINP")


def headline(result: Result) -> tuple[Measure, ...]:
    """Return the headline table."""
    values = _values(result)
    many = len(values) > 1
    return tuple(
        Measure(
            name,
            percent(column.mean()),
            percent(column.std(ddof=1)) if many else "",
            percent(column.min()) if many else "",
            percent(column.max()) if many else "",
            float(column.mean()),
        )
        for name, column in zip(names(result), values.T, strict=True)
    )


def trials(result: Result) -> tuple[tuple[str, ...], ...]:
    """Return the table of trials: number, queries, valid ones, gallery, then the measures."""
    return tuple(
        (
            str(t.number),
            f"{t.scores.n_query:,}",
            f"{t.scores.n_valid:,}",
            f"{t.n_gallery:,}",
            *(percent(value) for value in row),
        )
        for t, row in zip(result.trials, _values(result).tolist(), strict=True)
    )


def facts(result: Result) -> tuple[tuple[str, str], ...]:
    """Return how much was measured."""
    scores = [t.scores for t in result.trials]
    return (
        ("Identity splits" if result.protocol.splits else "Trials", str(len(scores))),
        ("Queries", _span([s.n_query for s in scores])),
        ("Valid queries", _span([s.n_valid for s in scores])),
        ("Gallery images", _span([t.n_gallery for t in result.trials])),
    )


def words(protocol: Protocol) -> tuple[str, ...]:
    """Return the protocol as sentences."""
    return tuple(part[0].upper() + part[1:] + "." for part in protocol.words)


def splits_note(result: Result) -> str:
    """Say that splits are missing, or nothing."""
    splits = result.protocol.splits
    if not splits or len(result.trials) == splits:
        return ""
    return (
        f"{len(result.trials)} of {splits} identity splits. Published numbers are means over {splits} models, "
        "one for each."
    )


def alarms(evidence: Evidence) -> tuple[tuple[str, str, str], ...]:
    """Return for each rate of false alarms how many persons are missed: rate, mean of the trials, lowest to highest.

    A rate is told only where the searches can show it: one false alarm must be no more.
    """
    curves = [t.det for t in evidence.trials]
    fewest = min(c.nonmated for c in curves)
    rows = []
    for rate in RATES:
        if rate * fewest >= 1:
            missed = np.array([c.at(np.array([rate]))[0] for c in curves])
            span = f"{percent(missed.min())} to {percent(missed.max())}" if len(missed) > 1 else ""
            rows.append((f"{100 * rate:g}", percent(missed.mean()), span))
    return tuple(rows)


def groups(evidence: Evidence, album: Album | None) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Return the ranked lists by group; without an album they have no images, and cameras by number.

    Raises:
        DatasetError: an image is missing or cannot be read.
    """
    return tuple(
        (_GROUPS[group], tuple(_row(shown, album) for shown in members))
        for group, members in groupby(evidence.lists, key=lambda shown: shown.group)
    )


def flat(values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return nested JSON values as lines of name and value; what is empty is left out."""
    lines: list[tuple[str, str]] = []
    _flatten(values, (), lines)
    return tuple(lines)


def percent(share: float) -> str:
    """Say a share of 1 in percent, without the sign."""
    return f"{100 * share:.2f}"


def _flatten(value: Any, path: tuple[str, ...], lines: list[tuple[str, str]]) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _flatten(inner, (*path, str(name).replace("_", " ")), lines)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value, start=1):
            _flatten(inner, (*path, str(number)) if len(value) > 1 else path, lines)
    elif value is not None and value != "":
        words = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        lines.append((" \u203a ".join(path), words))


def _values(result: Result) -> Any:
    """Return the measures of each trial, (trials, measures)."""
    return np.array([list(t.average.named(result.ranks).values()) for t in result.trials])


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _row(shown: RankedList, album: Album | None) -> Row:
    hidden = f", {shown.hidden:,} hidden by the rule" if shown.hidden else ""
    images = "image" if shown.matches == 1 else "images"
    about = (
        f"AP {percent(shown.ap)} %; first right answer at rank {shown.first}; {shown.matches} {images} of the person "
        f"among {shown.seen:,}{hidden}"
    )
    query = Tile(_source(shown.query, album), _camera(shown.query, album))
    answers = tuple(
        Tile(_source(a.sample, album), _camera(a.sample, album), a.rank, f"{a.score:.3f}", a.right)
        for a in shown.answers
    )
    return Row(about, query, answers)


def _camera(sample: Sample, album: Album | None) -> str:
    return (album or Album()).camera(sample)


def _source(sample: Sample, album: Album | None) -> str:
    rgb = album.image(sample) if album else None
    if rgb is None:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(rgb, SIDE)).decode("ascii")
