"""Everything a comparison shows, from the runs' folders. Knows no page and no terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.comparison import groups, measured
from training.comparison.groups import Group, Section
from training.comparison.rows import Row, rows
from vireid.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Groups that were measured alike, and what is said of them.

    Attributes:
        title: dataset and protocol.
        synthetic: whether their people were drawn.
        words: how they were scored and on what, sentence by sentence.
        groups: at least one.
        rows: one for each.
    """

    title: str
    synthetic: bool
    words: tuple[str, ...]
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A comparison.

    Attributes:
        parts: each a table of its own; what stands in different ones must not be compared.
        warning: why there are several, empty for one.
        left: runs that have no scores, with the reason.
    """

    parts: tuple[Part, ...]
    warning: str
    left: Mapping[str, str]


def read(folders: Sequence[Path]) -> Content:
    """Read runs and part them by how they were measured.

    Args:
        folders: of runs, at least one.

    Raises:
        TrainingError: a folder is no run, is damaged or is named twice; or no run has scores.
    """
    runs, left = measured.read(folders)
    if not runs:
        told = "; ".join(f"{name}: {why}" for name, why in left.items())
        raise TrainingError(
            f"no run has scores to compare ({told}); go on with them: vireid train resume RUN"
        )
    sections = groups.sections(groups.grouped(runs))
    parts: list[Part] = []
    for section in sections:
        begin = 1 + sum(len(part.rows) for part in parts)
        made = rows(section, begin)
        parts.append(Part(_title(section), section.synthetic, _words(section), section.groups, made))
    return Content(tuple(parts), _warning(sections), left)


def _title(section: Section) -> str:
    dataset, name = section.data[0]["dataset"], str(section.protocol.get("name", ""))
    return name if name.startswith(dataset) else f"{dataset}, {name}"


def _words(section: Section) -> tuple[str, ...]:
    """Say how a section's runs were scored; what only some of them were told is left out."""
    told = [str(run.scores["protocol"].get("words", "")) for group in section.groups for run in group.runs]
    every = [said.partition(": ")[2].split("; ") for said in told]
    shared = [part for part in every[0] if part and all(part in other for other in every)]
    return (*(part[0].upper() + part[1:] + "." for part in shared), _data(section))


def _data(section: Section) -> str:
    count, images = len(section.data), sorted({int(each["train images"]) for each in section.data})
    span = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    splits = [str(each["split"]) for each in section.data if each["split"] is not None]
    if splits:
        return (
            f"Identity splits {', '.join(sorted(splits, key=int))}, a run for each; {span} training images."
        )
    drawn = "drawn people" if section.synthetic else "data"
    several = (
        f"{count} sets of {drawn}, the same for every row"
        if count > 1
        else f"One set of {drawn} for all runs"
    )
    return f"{several}; {span} training images."


def _warning(sections: Sequence[Section]) -> str:
    """Say why runs do not stand in one table."""
    if len(sections) < 2:
        return ""
    why = []
    protocols = [groups.flat(section.protocol) for section in sections]
    keys = dict.fromkeys(key for each in protocols for key in each)
    differing = [key for key in keys if len({repr(each.get(key)) for each in protocols}) > 1]
    if differing:
        why.append(f"their protocols differ ({', '.join(differing)})")
    sets = [[repr(sorted(each.items())) for each in section.data] for section in sections]
    if len({repr(each) for each in sets}) > 1:
        why.append("they were not trained and scored on the same data")
    return (
        f"These runs were not measured alike: {' and '.join(why)}. So there are {len(sections)} tables, and no number "
        "of one may be held against a number of another."
    )
