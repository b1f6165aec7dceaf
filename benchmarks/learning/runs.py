"""Many small runs on drawn people, several at a time: each is made once, whatever stops the benchmark in between.

    WORK/data/NAME          drawn people
    WORK/runs/NAME          a run's folder
    WORK/asked/NAME.json    what was asked of it: a run that was asked for otherwise before is made anew
    WORK/starts/NAME.safetensors   weights of a finished run, to begin others from
    WORK/results.json       what came out of every finished run

Knows which runs wait for which; knows no method and no table.
"""

import json
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vireid.errors import TrainingError, VireidError

MOST_PROCESSES = 2
SMALL: dict[str, Any] = {
    "model.height": 64, "model.columns": 32, "data.pad": 3, "data.erase": 0.2, "data.persons": 8, "data.images": 4,
    "iterations": 40, "evaluate_first": False, "tensorboard": "off", "threads": 1,
}  # fmt: skip


@dataclass(frozen=True)
class People:
    """A set of drawn people.

    Attributes:
        name: its folder.
        preset: of the generator.
        count: how many.
        seed: who they are.
        images: of a person by each camera; the preset's if None.
    """

    name: str
    preset: str
    count: int
    seed: int
    images: int | None = None


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: its folder.
        recipe: its name.
        data: name of the people it learns from.
        changes: dotted keys of the recipe to other values.
        source: name of labelled people it learns from besides.
        stage1: name of the run whose labels it takes.
        start: name of the run whose weights it begins with.
        labels: the modality whose label accuracy is told.
    """

    name: str
    recipe: str
    data: str
    changes: dict[str, Any] = field(hash=False)
    source: str = ""
    stage1: str = ""
    start: str = ""
    labels: str = "infrared"

    @property
    def needs(self) -> frozenset[str]:
        """Name the runs that must be finished before."""
        return frozenset({self.stage1, self.start} - {""})


def draw(work: Path, sets: Iterable[People]) -> None:
    """Draw people, each set once."""
    from vireid.datasets.synthetic.layout import draw_dataset

    for wanted in sets:
        root = work / "data" / wanted.name
        if not (root / "synthetic.json").is_file():
            print(f"drawing {wanted.count} people, {wanted.preset}", flush=True)
            draw_dataset(
                root, wanted.preset, wanted.count, wanted.images, seed=wanted.seed, workers=MOST_PROCESSES
            )


def train_all(work: Path, wanted: Sequence[Job], processes: int) -> dict[str, dict[str, Any]]:
    """Make the runs that are missing; each is written down as it ends.

    Raises:
        TrainingError: runs failed; the others were made first.
    """
    path = work / "results.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    waiting = [job for job in wanted if not _known(job, found)]
    for job in waiting:
        found.pop(job.name, None)
    count, done = len(waiting), 0
    failed: dict[str, str] = {}
    running: dict[Future[dict[str, Any]], Job] = {}
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            for job in [job for job in waiting if job.needs & set(failed)]:
                waiting.remove(job)
                failed[job.name] = f"it needs {', '.join(job.needs & set(failed))}"
            for job in [job for job in waiting if job.needs <= set(found)][: processes - len(running)]:
                waiting.remove(job)
                running[pool.submit(run_one, job, work)] = job
            assert running or not waiting, f"runs wait for one another: {[job.name for job in waiting]}"
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, done = running.pop(future), done + 1
                try:
                    found[job.name] = future.result()
                except VireidError as error:
                    failed[job.name] = str(error)
                    print(f"{done}/{count} {job.name} FAILED: {error}", flush=True)
                    continue
                _write(path, found)
                print(f"{done}/{count} {job.name}: {_words(found[job.name])}", flush=True)
    if failed:
        raise TrainingError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    return {job.name: found[job.name] for job in wanted}


def run_one(job: Job, work: Path) -> dict[str, Any]:
    """Train and score, in a process of its own; a run that was cut off goes on where it was."""
    from training import order, stages
    from training.checkpoint import read_metrics
    from training.settings import read

    folder, asked = work / "runs" / job.name, work / "asked" / f"{job.name}.json"
    whole, began = True, time.process_time()
    if folder.exists() and asked.is_file() and json.loads(asked.read_text()) == _asked(job):
        trained, whole = stages.resume(folder), False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        wanted = order.Order(
            read(job.recipe, job.changes),
            work / "data" / job.data,
            weights=start_weights(work, job.start) if job.start else None,
            source=order.Source("sysu-mm01", work / "data" / job.source) if job.source else None,
            stage1=work / "runs" / job.stage1 if job.stage1 else None,
            device="cpu",
        )
        asked.parent.mkdir(parents=True, exist_ok=True)
        _write(asked, _asked(job))
        trained = stages.start(folder, wanted)
    for stage in trained:
        stage.started.loop.train()
    lines = read_metrics(folder)
    labelled = [line["labels"] for line in lines if "labels" in line]
    return {
        "asked": _asked(job),
        "before": 100 * lines[0]["evaluation"]["mean"]["mAP"] if lines[0]["epoch"] == 0 else None,
        **{name: 100 * value for name, value in lines[-1]["evaluation"]["mean"].items()},
        "label_accuracy": 100 * labelled[-1]["accuracy"][job.labels] if labelled else None,
        "label_ari": 100 * labelled[-1]["ari"] if labelled else None,
        "seconds": sum(line.get("seconds", 0.0) for line in lines),
        "cpu_seconds": time.process_time() - began if whole else None,  # of a run that was never cut off
    }


def start_weights(work: Path, name: str) -> Path:
    """Write what a one-stream run has learnt under the standard names, once, and return the file."""
    from safetensors.torch import save_file

    from training.checkpoint import load_model

    path = work / "starts" / f"{name}.safetensors"
    if not path.is_file():
        state = load_model(work / "runs" / name).state_dict()
        standard = {
            key.partition(".")[2]: value.contiguous()
            for key, value in state.items()
            if key.startswith(("stem.", "trunk."))
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{multiprocessing.current_process().pid}")
        save_file(standard, part)
        part.replace(path)
    return path


def spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return mean and deviation over seeds; None where a value is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return statistics.mean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def shown(found: tuple[float, float] | None) -> str:
    """Say a mean and its deviation."""
    return "" if found is None else f"{found[0]:.1f} ± {found[1]:.1f}"


def _asked(job: Job) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(asdict(job)))
    return told


def _known(job: Job, found: Mapping[str, Mapping[str, Any]]) -> bool:
    return found.get(job.name, {}).get("asked") == _asked(job)


def _write(path: Path, told: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told, indent=1) + "\n")
    part.replace(path)


def _words(result: Mapping[str, Any]) -> str:
    names = ("rank1", "mAP", "label_accuracy")
    said = [f"{name} {result[name]:.1f}" for name in names if result.get(name) is not None]
    return ", ".join([*said, f"{result['seconds']:.0f} s"])
