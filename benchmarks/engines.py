"""How much faster a bundle's engines are than its model in fp32, how near they come, and whether ``auto`` takes the fastest.

    python benchmarks/engines.py --quick
    python benchmarks/engines.py --work WORK --crops tests/data/vtest --json engines.json --table engines.md

All engines of a model embed the same batch in turns, and a ratio is the median over turns, so a machine that slows down slows
all. The goals of speed are those of a ResNet-50 at 288 x 144, which is trained on drawn people the first time (about half an
hour of one core) and kept in WORK; what eight bits cost it is held at 144 x 72, where it finds people better.
The bundle that comes with vireid, a small network, stands beside it with a goal of its own. ``--quick`` measures the small
network alone. ``--crops`` names real visible crops: how near engines come to the model on them is told, and beside a
``labels.csv`` (file, person, track) what each finds there too: every crop asks, those of other tracks are found. A goal that
cannot be measured here is skipped, which is no pass.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from learning import exported
from learning.exported import Tried
from learning.goal import Goal
from learning.verdict import Places, give_table

from clients import machine
from export import evidence
from export.comparison import cosine
from export.parity import PAST_CHANCE
from training.bridge import Crops
from vireid import bundle as bundles
from vireid import image_folder
from vireid.bundle import SOURCE, Bundle
from vireid.datasets import pixels
from vireid.engines import Engine, choice, open_engine, open_part, tuning
from vireid.engines.onnx import OnnxEngine

BATCH = 8
INT8_RATIO, BF16_RATIO, BF16_COSINE, AUTO_WITHIN = 3.0, 1.7, 0.999, 0.95
INT8_MAP_CHANGE = -0.5
COLUMNS = (
    "model", "engine", "images/s", "of fp32", "cosine least", "mean", "mAP, %", "change",
    "real crops: mean", "mAP, %", "change", "MB", "load, s",
)  # fmt: skip
# of the small network, whose gates and pooling between narrow layers stay fp32
SMALL_INT8_RATIO = 1.4
RESNET, RESNET_SMALL, DEFAULT = "resnet50-288", "resnet50-144", "default"


@dataclass(frozen=True)
class OnCrops:
    """How an engine does on real crops.

    Args:
        cosine: with the model, the mean; None for the model itself.
        map_percent: every crop asks, those of other tracks are found; None where they are not labelled.
        map_change: in points, of the same; None for the model itself.
    """

    cosine: float | None
    map_percent: float | None
    map_change: float | None


@dataclass(frozen=True)
class Row:
    """An engine of a model.

    Args:
        model: its name.
        engine: its name.
        size: of its images, height and width.
        until: the map up to which it calculates in fp32; empty for none.
        images_per_s: at the batch, all cores.
        ratio: of that to fp32 in ONNX Runtime, median over turns.
        cosine_min: with the model, from its parity report.
        cosine_mean: the same, the mean.
        map_percent: of the exam, infrared to visible.
        map_change: in points, of the same.
        chance: what a random order scores there, in per cent.
        crops: on the real crops given, if any were.
        megabytes: of its graph.
        load_s: to open it.
        why: it is not there; empty if it is.
    """

    model: str
    engine: str
    size: tuple[int, int]
    until: str = ""
    images_per_s: float | None = None
    ratio: float | None = None
    cosine_min: float | None = None
    cosine_mean: float | None = None
    map_percent: float | None = None
    map_change: float | None = None
    chance: float | None = None
    crops: OnCrops | None = None
    megabytes: float | None = None
    load_s: float | None = None
    why: str = ""


def turns(
    opened: Mapping[str, Engine], batch: int, rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Let engines embed one batch in turns, once before if they are to be warm; seconds of each turn."""
    height, width = next(iter(opened.values())).input_size
    images = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    modality = np.arange(batch, dtype=np.int64) % 2
    for engine in opened.values() if warm else ():
        engine.embed(images, modality)
    found: dict[str, list[float]] = {name: [] for name in opened}
    for _ in range(rounds):
        for name, engine in opened.items():
            began = time.perf_counter()
            engine.embed(images, modality)
            found[name].append(time.perf_counter() - began)
    return found


def rows(tried: Tried, rounds: int, crops: Path | None) -> list[Row]:
    """Measure every engine of a bundle on all cores."""
    cores = int(machine.describe()["cores"])
    bundle = tried.bundle
    opened: dict[str, Engine] = {}
    load: dict[str, float] = {}
    began = time.perf_counter()
    opened[SOURCE] = open_engine(bundle, "cpu", cores)
    load[SOURCE] = time.perf_counter() - began
    # what others are measured against is fp32 in the faster of its layouts, as it would be served
    plain = OnnxEngine(bundle, "cpu", cores, "plain")
    blocked_s, plain_s = tuning.seconds_an_image([opened[SOURCE], plain], (BATCH,))
    if plain_s < blocked_s:
        opened[SOURCE] = plain
    for part in (part for part in bundle.manifest.engines if part.proven):
        began = time.perf_counter()
        opened[part.name] = open_part(bundle, part, "cpu", cores)
        load[part.name] = time.perf_counter() - began
    seconds = turns(opened, BATCH, rounds)
    size = bundle.preprocess.height, bundle.preprocess.width
    near = {} if crops is None else on_crops(bundle, opened, crops)
    # every proof tells of the model's own skill too
    exams = [part.parity["map"] for part in bundle.manifest.engines if "map" in part.parity]
    made = []
    for name, each in seconds.items():
        one = choice.part_of(bundle, name)
        parity: Mapping[str, Any] = {} if one is None else one.parity
        found = parity.get("map", exams[0] if exams else {})
        percent = found.get("reference" if one is None else "candidate")
        ratio = statistics.median(base / mine for base, mine in zip(seconds[SOURCE], each, strict=True))
        made.append(
            Row(
                model=tried.name,
                engine=name,
                size=size,
                until="" if one is None else one.fp32_until,
                images_per_s=BATCH / statistics.median(each),
                ratio=ratio,
                cosine_min=parity.get("cosine_min"),
                cosine_mean=parity.get("cosine_mean"),
                map_percent=None if percent is None else 100 * percent,
                map_change=parity.get("map", {}).get("change_points"),
                chance=None if not found else 100 * found["chance"],
                crops=near.get(name),
                megabytes=len(bundle.file(bundle.manifest.model.file if one is None else one.file)) / 1e6,
                load_s=load[name],
            )
        )
    return made + [Row(tried.name, name, size, why=why) for name, why in tried.refused.items()]


def on_crops(bundle: Bundle, opened: Mapping[str, Engine], folder: Path) -> dict[str, OnCrops]:
    """Compare engines with the model on real crops, visible as they are."""
    labelled = (folder / "labels.csv").is_file()
    crops = evidence.read_real(folder, bundle.preprocess) if labelled else _unlabelled(folder, bundle)
    made = {name: evidence.embed(engine, crops) for name, engine in opened.items()}
    known = made if labelled else {}
    scored = {name: 100 * evidence.score(rows, crops, rows, crops).mean_ap for name, rows in known.items()}
    near = {name: float(cosine(rows, made[SOURCE]).mean()) for name, rows in made.items() if name != SOURCE}
    change = {name: scored[name] - scored[SOURCE] for name in scored if name != SOURCE}
    return {name: OnCrops(near.get(name), scored.get(name), change.get(name)) for name in made}


def _unlabelled(folder: Path, bundle: Bundle) -> Crops:
    """Read crops of whom nothing is known."""
    images = np.stack(
        [bundle.preprocess.apply(pixels.read(entry.path)) for entry in image_folder.read(folder)]
    )
    nothing = np.zeros(len(images), np.int64)
    return Crops(images, nothing, nothing, nothing, nothing)


def chosen(tried: Tried, rounds: int) -> Goal:
    """Compare what ``auto`` takes with what is fastest, each as a worker runs it, alone and in a batch."""
    bundle = tried.bundle
    taken = choice.choose(bundle, device="cpu")
    proven = [SOURCE, *(part.name for part in bundle.manifest.engines if part.proven)]
    opened = {name: choice.choose(bundle, name, "cpu").engine for name in proven}
    # sizes take turns, as they do when requests come: a runtime may have to prepare itself for each anew
    best = {(name, batch): float("inf") for name in opened for batch in (1, BATCH)}
    for _ in range(rounds):
        for batch in (1, BATCH):
            for name, (seconds,) in turns(opened, batch, 1, warm=False).items():
                best[name, batch] = min(best[name, batch], seconds)
    speed = {name: (BATCH / best[name, 1] / best[name, BATCH]) ** 0.5 for name in opened}
    fastest = max(speed, key=lambda name: speed[name])
    figures = ", ".join(f"{name} {one:.1f}/s" for name, one in speed.items())
    return Goal.at_least(
        f"{tried.name}_auto_of_fastest",
        speed[taken.name] / speed[fastest],
        AUTO_WITHIN,
        f"auto takes {taken.name}, fastest is {fastest}: {figures}",
    )


def goals(measured: Sequence[Row]) -> Iterator[Goal]:
    """Hold the figures of the models that were measured against their goals; of engines in eight bits the fastest counts."""
    small = [row for row in measured if row.model == DEFAULT]
    yield _goal("default_int8_over_fp32", _fastest(small, "int8"), SMALL_INT8_RATIO)
    large = [row for row in measured if row.model == RESNET]
    if not large:
        return
    bf16 = _fastest(large, "bf16")
    yield _goal("resnet50_int8_over_fp32", _fastest(large, "int8"), INT8_RATIO)
    yield _goal("resnet50_bf16_over_fp32", bf16, BF16_RATIO)
    yield _goal("resnet50_bf16_cosine_min", bf16, BF16_COSINE, "cosine_min")
    knowing = [row for row in measured if row.model == RESNET_SMALL]
    source = next(row for row in knowing if row.engine == SOURCE)
    skill = None if source.map_percent is None or not source.chance else source.map_percent / source.chance
    yield Goal.at_least("resnet50_map_over_chance", skill, PAST_CHANCE, "below it a change says little")
    yield _goal("resnet50_int8_map_change", _fastest(knowing, "int8"), INT8_MAP_CHANGE, "map_change")


def _fastest(rows_of_one: Sequence[Row], precision: str) -> Row | None:
    """Return the fastest engine of a precision, one that was refused if there is no other."""
    found = [row for row in rows_of_one if row.engine.endswith(f"-{precision}")]
    return max(found, key=lambda row: row.ratio or 0.0, default=None)


def _goal(name: str, row: Row | None, least: float, what: str = "ratio") -> Goal:
    """Hold one figure of an engine against its goal: one that was refused misses it, one that nobody made is skipped."""
    value = None if row is None else -float("inf") if row.why else getattr(row, what)
    return Goal.at_least(name, value, least, _why(row))


def _why(row: Row | None) -> str:
    if row is None:
        return "it was not made"
    if row.why:
        return row.why
    return f"{row.engine}: {row.images_per_s:.1f} images/s, cosine mean {row.cosine_mean:.4f}, mAP {row.map_change:+.2f} points"


def table(measured: Sequence[Row]) -> str:
    """Write all rows as Markdown, and why engines were refused below."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"{'|---' * len(COLUMNS)}|"]
    named: set[str] = set()
    for row in measured:
        model = "" if row.model in named else f"{row.model}, {row.size[0]} x {row.size[1]}"
        named.add(row.model)
        crops = row.crops or OnCrops(None, None, None)
        cells = [
            model, f"`{row.engine}`{row.until and f', fp32 until `{row.until}`'}",
            "refused" if row.why else _figure(row.images_per_s, ".1f"), _figure(row.ratio, ".2f"),
            _figure(row.cosine_min, ".4f"), _figure(row.cosine_mean, ".4f"),
            _figure(row.map_percent, ".1f"), _figure(row.map_change, "+.2f"),
            _figure(crops.cosine, ".4f"), _figure(crops.map_percent, ".1f"), _figure(crops.map_change, "+.2f"),
            _figure(row.megabytes, ".1f"), _figure(row.load_s, ".2f"),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    refused = [f"`{row.engine}` of {row.model}: {row.why}" for row in measured if row.why]
    return "\n".join([*lines, *(["", *refused] if refused else [])]) + "\n"


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form).replace("-", "−")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes; trains nothing.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    table_file: Annotated[Path | None, typer.Option("--table", help="Write the table here.")] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Where people, runs and bundles are kept; a passing folder if left out."),
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(help="Real visible crops to compare engines on as well.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each engine; 0 for the usual.")] = 0,
) -> None:
    """Measure the engines of a ResNet-50 and of the bundle that comes along; exit 1 if a goal is missed."""
    rounds = rounds or (5 if quick else 15)
    cores = int(machine.describe()["cores"])
    with tempfile.TemporaryDirectory() as passing:
        place = work or Path(passing)
        sources = {DEFAULT: bundles.read(bundles.default_path())}
        if not quick:
            sources = {**{name: exported.trained(place, name) for name in (RESNET, RESNET_SMALL)}, **sources}
        tried = [
            exported.engines(place, name, source, cores, quick=quick) for name, source in sources.items()
        ]
        measured = [row for one in tried for row in rows(one, rounds, crops)]
        found = [*goals(measured), *(chosen(one, rounds) for one in tried)]
    for goal in found:
        print(f"{goal.name}: {goal.detail}")
    told = {
        "quick": quick,
        "cpu": machine.describe()["cpu"],
        "cores": cores,
        "load": os.getloadavg()[0],
        "rows": [asdict(row) for row in measured],
    }
    give_table(told, table(measured), found, Places(json_file, table_file))


if __name__ == "__main__":
    typer.run(main)
