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

import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from learning.goal import Goal

SMALL: dict[str, Any] = {
    "model.height": 64, "model.columns": 32, "data.pad": 3, "data.erase": 0.2, "data.persons": 8, "data.images": 4,
    "iterations": 40, "evaluate_first": False, "tensorboard": "off", "threads": 1,
}  # fmt: skip
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
MOST_PROCESSES = 2
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
class Job:
    """One run."""

    preset: str
    family: str
    row: str
    seed: int
    changes: dict[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """Name it, also as a folder."""
        return f"{self.preset}-{self.family}-{self.row}-{self.seed}"


def jobs(size: Size) -> Iterator[Job]:
    """Name all runs, first stages first: the others need their labels."""
    shared = {**SMALL, "epochs": size.epochs}
    if "unsupervised" in size.families:
        for preset in size.presets:
            for seed in size.seeds:
                yield Job(preset, "spcl", "stage1", seed, {**shared, "data.persons": 12, "seed": seed})
    for preset in size.presets:
        for family in size.families:
            rows = DANET if family == "danet" else {name: PARTS[name] for name in size.parts}
            own = {} if family == "danet" else OTLA
            for row, changes in rows.items():
                for seed in size.seeds:
                    yield Job(preset, family, row, seed, {**shared, **own, **changes, "seed": seed})


# ---- one run, in a process of its own ---------------------------------------------
def run_one(job: Job, work: Path) -> dict[str, Any]:
    """Train and score; what a run that was cut off had begun is made again."""
    from training import order, stages
    from training.checkpoint import read_metrics
    from training.settings import read

    folder, data = work / "runs" / job.name, work / "data" / f"{job.preset}-{job.seed}"
    recipe = RECIPES.get(job.family, "synthetic-spcl")
    if folder.exists():
        trained = stages.resume(folder)
    elif job.family == "spcl":
        source = order.Source("sysu-mm01", work / "data" / "source")
        wanted = order.Order(read(recipe, job.changes), data, source=source, device="cpu")
        trained = stages.start(folder, wanted)
    else:
        first = (
            work / "runs" / f"{job.preset}-spcl-stage1-{job.seed}" if job.family == "unsupervised" else None
        )
        changes = {**job.changes, "stage1": {}} if first else job.changes
        wanted = order.Order(read(recipe, changes), data, stage1=first, device="cpu")
        trained = stages.start(folder, wanted)
    for stage in trained:
        stage.started.loop.train()
    lines = read_metrics(folder)
    labelled = [line["labels"] for line in lines if "labels" in line]
    kind = "visible" if job.family == "spcl" else "infrared"
    return {
        **{name: 100 * value for name, value in lines[-1]["evaluation"]["mean"].items()},
        "label_accuracy": 100 * labelled[-1]["accuracy"][kind] if labelled else None,
        "seconds": sum(line.get("seconds", 0.0) for line in lines),
    }


def draw(work: Path, size: Size) -> None:
    """Draw the people, each set once."""
    from vireid.datasets.synthetic.layout import draw_dataset

    wanted = [
        (f"{preset}-{seed}", preset, size.people, seed) for preset in size.presets for seed in size.seeds
    ]
    if size.source_people:
        wanted.append(("source", "sysu-like", size.source_people, SOURCE_SEED))
    for folder, preset, people, seed in wanted:
        root = work / "data" / folder
        if not (root / "synthetic.json").is_file():
            images = 2 if folder == "source" else None
            print(f"drawing {people} people, {preset}", flush=True)
            draw_dataset(root, preset, people, images, seed=seed, workers=MOST_PROCESSES)


# ---- all runs ---------------------------------------------------------------------
def train_all(work: Path, size: Size, processes: int) -> dict[str, dict[str, Any]]:
    """Make the runs that are missing; each is written down as it ends."""
    path = work / "results.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    wanted = {job.name: job for job in jobs(size)}
    for stage in (True, False):
        missing = [
            job for name, job in wanted.items() if name not in found and (job.family == "spcl") is stage
        ]
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            running = {pool.submit(run_one, job, work): job for job in missing}
            for number, future in enumerate(as_completed(running), start=1):
                job = running[future]
                found[job.name] = future.result()
                part = path.with_suffix(".part")
                part.write_text(json.dumps(found, indent=1) + "\n")
                part.replace(path)
                shown = ", ".join(
                    f"{key} {found[job.name][key]:.1f}"
                    for key in ("rank1", "mAP", "label_accuracy")
                    if found[job.name][key] is not None
                )
                print(f"{number}/{len(missing)} {job.name}: {shown}", flush=True)
    return {name: found[name] for name in wanted}


# ---- what came out ----------------------------------------------------------------
@dataclass(frozen=True)
class Cell:
    """A row of a family on a preset, over seeds: mean and deviation in points."""

    preset: str
    family: str
    row: str
    figures: dict[str, tuple[float, float] | None]

    def mean(self, name: str) -> float:
        """Give a figure's mean."""
        found = self.figures[name]
        assert found is not None, (self, name)
        return found[0]


def cells(size: Size, found: dict[str, dict[str, Any]]) -> list[Cell]:
    """Gather the seeds of every row."""
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for job in jobs(size):
        rows.setdefault((job.preset, job.family, job.row), []).append(found[job.name])
    names = ("rank1", "rank10", "rank20", "mAP", "label_accuracy")
    return [
        Cell(*place, {name: _spread([one[name] for one in seeds]) for name in names})
        for place, seeds in rows.items()
    ]


def _spread(values: list[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return statistics.mean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def table(made: Iterable[Cell]) -> str:
    """Write all rows as Markdown."""
    head = "| preset | setting | parts | Rank-1 | Rank-10 | Rank-20 | mAP | label accuracy |\n|---|---|---|---|---|---|---|---|\n"
    lines = []
    for cell in made:
        shown = [
            "" if spread is None else f"{spread[0]:.1f} ± {spread[1]:.1f}" for spread in cell.figures.values()
        ]
        lines.append("| " + " | ".join([cell.preset, cell.family, cell.row, *shown]) + " |\n")
    return head + "".join(lines)


def goals(size: Size, made: Iterable[Cell]) -> Iterator[Goal]:
    """Compare the order of the rows with the papers'."""
    by = {(cell.preset, cell.family, cell.row): cell for cell in made}
    for preset in size.presets:
        for family in size.families:
            where = f"{preset}_{family}".replace("-", "_")
            if family == "danet":
                both, base = (by[preset, family, row].mean("mAP") for row in ("CC+ML", "baseline"))
                yield Goal.at_least(f"{where}_both_over_baseline_map_points", both - base, 0.0)
                continue
            transport, greatest = (
                by[preset, family, row].mean("label_accuracy") for row in ("V+D+A+OT", "V+D+A+argmax")
            )
            yield Goal.at_least(f"{where}_ot_over_argmax_label_points", transport - greatest, FAR_BEHIND)
            if set(size.parts) == set(PARTS):
                score = {row: by[preset, family, row].mean("mAP") for row in PARTS}
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
        draw(place, size)
        found = train_all(place, size, processes)
    made = cells(size, found)
    print(table(made))
    verdicts = list(goals(size, made))
    if json_file is not None:
        told = {
            "synthetic": True,
            "size": asdict(size),
            "recipe": {**SMALL, "otla": OTLA},
            "runs": found,
            "goals": [asdict(goal) for goal in verdicts],
        }
        json_file.write_text(json.dumps(told, indent=1) + "\n")
    if table_file is not None:
        table_file.write_text(table(made))
    for goal in verdicts:
        print(goal.line())
    raise typer.Exit(not all(goal.passed for goal in verdicts))


if __name__ == "__main__":
    typer.run(main)
