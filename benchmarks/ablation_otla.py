"""What each part of OTLA and DANet brings, on drawn people: the papers' ablations, small, with three seeds.

    python benchmarks/ablation_otla.py --quick --json ablation.json
    python benchmarks/ablation_otla.py --work WORK --json ablation.json --table ablation.md

People are drawn in two presets, others for each seed, for they and their cameras make more of a difference than chance
in training does; those that are scored were never trained with. Every run starts from fresh weights,
has the same small network, images and number of steps, and is scored after its last epoch. Rows are those of the papers:

- OTLA, semi-supervised (persons of visible images known) and unsupervised (SpCL labels them first, with other
  drawn people as its labelled source): visible losses, discriminator (D), prediction alignment (A), labels of infrared
  images by transport (OT); and once more all of it with labels by the greatest answer, which no paper tells.
- DANet: its baseline, the cross-modality centres (CC), mutual learning (ML), both.

A finished run is kept in WORK and not made again. Drawn people are no real ones: what is to be compared with the papers
is the order of the rows and not a number.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from learning.goal import Goal
from learning.runs import MOST_PROCESSES, SMALL, Job, People, draw, shown, spread, train_all
from learning.verdict import Places, give_table

OTLA = {"optimiser.rate": 2e-3}
PARTS: dict[str, dict[str, Any]] = {
    "V": {"method.discriminator": False, "method.alignment": "off", "method.assignment": "off"},
    "V+D": {"method.alignment": "off", "method.assignment": "off"},
    "V+A": {"method.discriminator": False, "method.assignment": "off"},
    "V+D+OT": {"method.alignment": "off"},
    "V+A+OT": {"method.discriminator": False},
    "V+D+A+OT": {},
    "V+D+A+argmax": {"method.assignment": "argmax"},
}
DANET: dict[str, dict[str, Any]] = {
    "baseline": {"method.cc": "off", "method.ml": False},
    "CC": {"method.ml": False},
    "ML": {"method.cc": "off"},
    "CC+ML": {},
}
RECIPES = {
    "semi-supervised": "synthetic-otla-ssvi",
    "unsupervised": "synthetic-otla-usvi",
    "danet": "synthetic-danet",
}
PRESETS = ("sysu-like", "regdb-like")
SOURCE_SEED = 77  # nobody of the source set is anybody of the others
FAR_BEHIND = 10.0  # points of label accuracy that arg-max must stay behind
NOTHING = 2.0  # points of mAP that are no more than chance between seeds


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    people: int = 40
    source_people: int = 120
    epochs: int = 20
    seeds: tuple[int, ...] = (1, 2, 3)
    presets: tuple[str, ...] = PRESETS
    families: tuple[str, ...] = ("semi-supervised", "unsupervised", "danet")
    parts: tuple[str, ...] = tuple(PARTS)


QUICK = Size(
    people=24,
    source_people=0,
    epochs=10,
    seeds=(1,),
    presets=("sysu-like",),
    families=("semi-supervised",),
    parts=("V+D+A+OT", "V+D+A+argmax"),
)


@dataclass(frozen=True)
class Place:
    """Where a run stands in the table."""

    preset: str
    family: str
    row: str


def jobs(size: Size) -> Iterator[tuple[Place, Job]]:
    """Name all runs, first stages first: the others need their labels."""
    shared = {**SMALL, "epochs": size.epochs}
    if "unsupervised" in size.families:
        for preset in size.presets:
            for seed in size.seeds:
                yield _stage1(preset, seed, shared)
    for preset in size.presets:
        for family in size.families:
            rows = DANET if family == "danet" else {name: PARTS[name] for name in size.parts}
            own = {} if family == "danet" else OTLA
            for row, changes in rows.items():
                for seed in size.seeds:
                    yield _job(Place(preset, family, row), {**shared, **own, **changes, "seed": seed})


def _stage1(preset: str, seed: int, shared: dict[str, Any]) -> tuple[Place, Job]:
    changes = {**shared, "data.persons": 12, "seed": seed}
    name, data = f"{preset}-spcl-stage1-{seed}", f"{preset}-{seed}"
    job = Job(name, "synthetic-spcl", data, changes, source="source", labels="visible")
    return Place(preset, "spcl", "stage1"), job


def _job(place: Place, changes: dict[str, Any]) -> tuple[Place, Job]:
    seed = changes["seed"]
    first = f"{place.preset}-spcl-stage1-{seed}" if place.family == "unsupervised" else ""
    name = f"{place.preset}-{place.family}-{place.row}-{seed}"
    changes = {**changes, "stage1": {}} if first else changes
    return place, Job(name, RECIPES[place.family], f"{place.preset}-{seed}", changes, stage1=first)


def people(size: Size) -> Iterator[People]:
    """Name the people that are drawn: others for each seed."""
    for preset in size.presets:
        for seed in size.seeds:
            yield People(f"{preset}-{seed}", preset, size.people, seed)
    if size.source_people:
        yield People("source", "sysu-like", size.source_people, SOURCE_SEED, images=2)


# ---- what came out ----------------------------------------------------------------
@dataclass(frozen=True)
class Cell:
    """A row of a family on a preset, over seeds: mean and deviation in points."""

    place: Place
    figures: dict[str, tuple[float, float] | None]

    def mean(self, name: str) -> float:
        """Give a figure's mean."""
        found = self.figures[name]
        assert found is not None, (self, name)
        return found[0]


def cells(size: Size, found: dict[str, dict[str, Any]]) -> list[Cell]:
    """Gather the seeds of every row."""
    rows: dict[Place, list[dict[str, Any]]] = {}
    for place, job in jobs(size):
        rows.setdefault(place, []).append(found[job.name])
    names = ("rank1", "rank10", "rank20", "mAP", "label_accuracy")
    return [
        Cell(place, {name: spread([one[name] for one in seeds]) for name in names})
        for place, seeds in rows.items()
    ]


def table(made: Iterable[Cell]) -> str:
    """Write all rows as Markdown."""
    head = "| preset | setting | parts | Rank-1 | Rank-10 | Rank-20 | mAP | label accuracy |\n|---|---|---|---|---|---|---|---|\n"
    lines = []
    for cell in made:
        where = (cell.place.preset, cell.place.family, cell.place.row)
        lines.append("| " + " | ".join([*where, *map(shown, cell.figures.values())]) + " |\n")
    return head + "".join(lines)


def goals(size: Size, made: Iterable[Cell]) -> Iterator[Goal]:
    """Compare the order of the rows with the papers'."""
    by = {cell.place: cell for cell in made}
    for preset in size.presets:
        for family in size.families:
            where = f"{preset}_{family}".replace("-", "_")
            if family == "danet":
                both, base = (by[Place(preset, family, row)].mean("mAP") for row in ("CC+ML", "baseline"))
                yield Goal.at_least(f"{where}_both_over_baseline_map_points", both - base, 0.0)
                continue
            transport, greatest = (
                by[Place(preset, family, row)].mean("label_accuracy") for row in ("V+D+A+OT", "V+D+A+argmax")
            )
            yield Goal.at_least(f"{where}_ot_over_argmax_label_points", transport - greatest, FAR_BEHIND)
            if set(size.parts) == set(PARTS):
                score = {row: by[Place(preset, family, row)].mean("mAP") for row in PARTS}
                yield Goal.at_most(f"{where}_alignment_alone_map_points", score["V+A"] - score["V"], NOTHING)
                best = max(value for row, value in score.items() if row != "V+D+A+OT")
                yield Goal.at_least(f"{where}_all_over_next_best_map_points", score["V+D+A+OT"] - best, 0.0)


def main(
    work: Annotated[
        Path | None, typer.Option(help="Where people and runs are kept; a passing folder if left out.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Two rows, one preset, one seed: under two minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    table_file: Annotated[Path | None, typer.Option("--table", help="Write the table here.")] = None,
    processes: Annotated[int, typer.Option(help="Runs at a time.")] = MOST_PROCESSES,
    preset: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(PRESETS)}.")] = None,
) -> None:
    """Train every row, and say whether their order is the papers'."""
    size = QUICK if quick else Size(presets=tuple(preset or PRESETS))
    with tempfile.TemporaryDirectory() as passing:
        place = work or Path(passing)
        draw(place, people(size))
        found = train_all(place, [job for _, job in jobs(size)], processes)
    made = cells(size, found)
    told = {"size": asdict(size), "recipe": {**SMALL, "otla": OTLA}, "runs": found}
    give_table(told, table(made), list(goals(size, made)), Places(json_file, table_file))


if __name__ == "__main__":
    typer.run(main)
