"""All methods side by side, from persons known to nobody known, on drawn people: one start, one budget, three seeds.

    python benchmarks/compare_methods.py --quick
    python benchmarks/compare_methods.py --work WORK --json compare.json --table compare.md

Every run has the same small network, images, optimiser steps and identities, and is scored after its last epoch on people
nobody was trained with; for each seed other people are drawn. Every run begins with the same weights: those of a network
that learnt to tell yet other drawn people apart, in both modalities, with their labels. They stand for what published runs
begin with, standard weights: from fresh ones clusters of drawn people are no better than chance. So "nobody known" means
nobody of those that are learnt, and the score before training stands beside each row's.

Rows are the methods, and each one's ablations:

- supervised: the baseline, DANet and the identity loss it adds to, CM-EMD, without CM-DL and without the earth mover's
  distance;
- persons of visible images known: OTLA;
- nobody known: OTLA after SpCL, DCL, MIOT, MULT. DCL is the ablation of the latter two: MULT without its transfer of labels is
  DCL step for step, and MIOT without its matching is DCL with a discriminator.

A finished run is kept in WORK and not made again. Drawn people are no real ones: what is to be compared with the papers
is the order of the rows and not a number.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from learning.goal import Goal
from learning.runs import MOST_PROCESSES, SMALL, Job, People, draw, shown, spread, train_all
from learning.verdict import Places, give_table

from vireid.settings import parse_assignments

PRESET = "sysu-like"
START_SEED = 77  # nobody the start was trained with is anybody of the others
FIGURES = ("before", "rank1", "rank10", "rank20", "mAP", "mINP", "label_accuracy", "label_ari", "cpu_seconds")
SHARED: dict[str, Any] = {
    **SMALL,
    "model.name": "one-stream-resnet18",
    "model.width": 0.25,
    "model.pooling": "average",
    "evaluate_first": True,
    "evaluate_every": 5,
    "iterations": 24,
    "model.height": 128,
    "model.columns": 64,
    "data.pad": 5,
}


@dataclass(frozen=True)
class Row:
    """A method, or what is left of it.

    Attributes:
        setting: whose persons are known.
        recipe: of a run.
        changes: of the recipe.
        above: rows that are left of it when a part is taken away: they are to score less.
        part: it is such a rest and no method of its own.
    """

    setting: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    above: tuple[str, ...] = ()
    part: bool = False


# weights that a run begins with learn at a tenth of the rate of a fresh classifier, as in published recipes: at the full rate
# its first steps undo what they know
BEGUN = {"optimiser.rate": 3e-3, "optimiser.trunk_share": 0.1}
TWIN = {**BEGUN, "model.name": "twin-tails-resnet18"}  # of the same stages, some of them twice
# clusters undo what a start knows if they are learnt from too fast
SLOW = {"optimiser.rate": 3e-4}
CLUSTERS = {  # a person has 16 visible and 8 infrared images here
    **SLOW,
    "method.clusters.k1": 14, "method.clusters.k2": 4, "method.clusters.eps": 0.5, "method.clusters.min_samples": 3,
}  # fmt: skip
MULT = {**CLUSTERS, "method.dcl_epochs": 7}  # half of all, about as published
MIOT = {**CLUSTERS, "method.warmup_epochs": 7}
ALL, VISIBLE, NOBODY = "all", "of visible images", "nobody"
ROWS: dict[str, Row] = {
    "baseline": Row(ALL, "synthetic-supervised", BEGUN),
    "danet": Row(ALL, "synthetic-danet", BEGUN, above=("danet-without-alignment",)),
    "danet-without-alignment": Row(
        ALL, "synthetic-danet", {**BEGUN, "method.cc": "off", "method.ml": False}, part=True
    ),
    "cm-emd": Row(ALL, "synthetic-cm-emd", TWIN, above=("cm-emd-without-dl", "cm-emd-without-emd")),
    "cm-emd-without-dl": Row(ALL, "synthetic-cm-emd", {**TWIN, "method.dl": "off"}, part=True),
    "cm-emd-without-emd": Row(ALL, "synthetic-cm-emd", {**TWIN, "method.emd_weight": 0.0}, part=True),
    "otla-ssvi": Row(VISIBLE, "synthetic-otla-ssvi", BEGUN, above=("otla-usvi",)),
    "otla-usvi": Row(NOBODY, "synthetic-otla-usvi", BEGUN),
    "dcl": Row(NOBODY, "synthetic-dcl", CLUSTERS),
    "miot": Row(NOBODY, "synthetic-miot", MIOT, above=("dcl",)),
    "mult": Row(NOBODY, "synthetic-mult", MULT, above=("dcl",)),
}
STAGE1, START = "spcl-stage1", "start"
_BEFORE = {START: "all, of other people", STAGE1: NOBODY}
_ORDER = {
    ALL: "least_supervised_over_best_semi_supervised_map_points",
    VISIBLE: "semi_supervised_over_best_unsupervised_map_points",
}
START_CHANGES: dict[str, Any] = {"optimiser.rate": 2e-3}


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    people: int = 60
    start_people: int = 240
    epochs: int = 15
    start_epochs: int = 40
    seeds: tuple[int, ...] = (4, 5, 6)  # rates were chosen by looking at 1 and 2
    rows: tuple[str, ...] = tuple(ROWS)
    shared: Mapping[str, Any] = field(default_factory=lambda: SHARED)


SCALES = ("people", "start_people", "epochs", "start_epochs")
QUICK = Size(
    people=24,
    start_people=40,
    epochs=4,
    start_epochs=6,
    seeds=(1,),
    rows=("baseline", "otla-ssvi", "dcl"),
    shared={**SHARED, "iterations": 30, "model.height": 64, "model.columns": 32, "data.pad": 3},
)


def jobs(size: Size) -> Iterator[tuple[str, Job]]:
    """Name all runs by their rows: what others begin with first."""
    changes = {**size.shared, **START_CHANGES, "epochs": size.start_epochs, "seed": START_SEED}
    yield START, Job(START, "synthetic-supervised", START, changes)
    if "otla-usvi" in size.rows:
        for seed in size.seeds:
            changes = {**size.shared, **SLOW, "epochs": size.epochs, "seed": seed}
            name = f"{STAGE1}-{seed}"
            yield STAGE1, Job(name, "synthetic-spcl", _people(seed), changes, start=START, labels="visible")
    for name in size.rows:
        row = ROWS[name]
        for seed in size.seeds:
            changes = {**size.shared, **row.changes, "epochs": size.epochs, "seed": seed}
            first = ""
            if name == "otla-usvi":
                changes, first = {**changes, "stage1": {}}, f"{STAGE1}-{seed}"
            told = "all" if row.setting == NOBODY else "infrared"  # images whose persons were not told
            job = Job(
                f"{name}-{seed}", row.recipe, _people(seed), changes, stage1=first, start=START, labels=told
            )
            yield name, job


def people(size: Size) -> Iterator[People]:
    """Name the people that are drawn: others for each seed, and others for the start."""
    yield People(START, PRESET, size.start_people, START_SEED, images=2)
    for seed in size.seeds:
        yield People(_people(seed), PRESET, size.people, seed)


def _people(seed: int) -> str:
    return f"{PRESET}-{seed}"


# ---- what came out ----------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """A row over its seeds: mean and deviation, in points and seconds."""

    name: str
    known: str
    figures: dict[str, tuple[float, float] | None]


def lines(size: Size, found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Gather the seeds of every row."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for name, job in jobs(size):
        rows.setdefault(name, []).append(found[job.name])
    return [
        Line(
            name,
            ROWS[name].setting if name in ROWS else _BEFORE[name],
            {figure: spread([one.get(figure) for one in seeds]) for figure in FIGURES},
        )
        for name, seeds in rows.items()
    ]


def table(made: Iterable[Line]) -> str:
    """Write all rows as Markdown."""
    names = ["method", "persons known", "mAP before", "Rank-1", "Rank-10", "Rank-20", "mAP", "mINP"]
    names += ["label accuracy", "label ARI", "CPU seconds"]
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    return head + "".join(
        "| " + " | ".join([line.name, line.known, *map(shown, line.figures.values())]) + " |\n"
        for line in made
    )


def goals(size: Size, made: Iterable[Line]) -> Iterator[Goal]:
    """Compare the order of the rows with the papers'."""
    by = {line.name: line for line in made}
    for more, fewer in ((ALL, VISIBLE), (VISIBLE, NOBODY)):
        better, worse = (
            [by[name] for name in size.rows if ROWS[name].setting == known and not ROWS[name].part]
            for known in (more, fewer)
        )
        if better and worse:
            yield _above(min(better, key=_score), max(worse, key=_score), _ORDER[more])
    for name in size.rows:
        for other in ROWS[name].above:
            if other in by:
                yield _above(by[name], by[other], f"{name}_over_{other}_map_points")


def _above(line: Line, other: Line, name: str) -> Goal:
    detail = f"{line.name} {shown(line.figures['mAP'])}, {other.name} {shown(other.figures['mAP'])}"
    return Goal.at_least(name.replace("-", "_"), _score(line) - _score(other), 0.0, detail)


def _score(line: Line) -> float:
    found = line.figures["mAP"]
    assert found is not None, line
    return found[0]


def main(  # noqa: PLR0913 - a benchmark's options
    work: Annotated[
        Path | None, typer.Option(help="Where people and runs are kept; a passing folder if left out.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Three rows, one seed, few steps: under two minutes, and no order to expect.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    table_file: Annotated[Path | None, typer.Option("--table", help="Write the table here.")] = None,
    processes: Annotated[int, typer.Option(help="Runs at a time.")] = MOST_PROCESSES,
    row: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(ROWS)}.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Others than 4, 5 and 6.")] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="people=N, start_people=N, epochs=N, start_epochs=N, or a recipe's key=value."
        ),
    ] = None,
) -> None:
    """Train every row, and say whether their order is the papers'."""
    asked = parse_assignments(scale or [])
    named = {key: asked.pop(key) for key in SCALES if key in asked}
    named |= {"rows": tuple(row or ROWS), "seeds": tuple(seed or Size.seeds), "shared": SHARED | asked}
    size = QUICK if quick else Size(**named)
    with tempfile.TemporaryDirectory() as passing:
        place = work or Path(passing)
        draw(place, people(size))
        found = train_all(place, [job for _, job in jobs(size)], processes)
    made = lines(size, found)
    told = {
        "size": asdict(size),
        "rows": {name: asdict(ROWS[name]) for name in size.rows},
        "runs": found,
        "means": [asdict(line) for line in made],
    }
    give_table(told, table(made), list(goals(size, made)), Places(json_file, table_file))


if __name__ == "__main__":
    typer.run(main)
