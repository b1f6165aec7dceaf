"""``vireid doctor``: what this machine can run, tried out and told in one table."""

import importlib.metadata
import importlib.util
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vireid import bundle as bundles
from vireid.engines import open_engine
from vireid.errors import VireidError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

RUNS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: what was looked at.
        found: what was found, or what is wrong and what to do.
        sound: False only where something that should work does not.
    """

    what: str
    found: str
    sound: bool = True


@app.command()
def doctor(
    bundle: Annotated[
        Path | None, typer.Option(help="A bundle to try; the one that comes with vireid otherwise.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads one call uses.")] = 1,
) -> None:
    """Say what this machine can run, and test it; status 1 if something that should work does not."""
    table = Table(show_header=False, box=None, pad_edge=False)
    failed = False
    for finding in examine(bundle, device, threads):
        table.add_row("ok" if finding.sound else "FAILS", finding.what, finding.found)
        failed |= not finding.sound
    Console(soft_wrap=True, markup=False, highlight=False).print(table)
    if failed:
        raise typer.Exit(1)


def examine(path: Path | None, device: str, threads: int) -> Iterator[Finding]:
    """Look at the machine, then at a bundle: read it, open it, run it."""
    yield Finding("python", f"{platform.python_version()} on {platform.machine()} {platform.system()}")
    yield Finding("processors", f"{_processors()} this process may use")
    yield _look("onnxruntime", _onnxruntime)
    yield _look("search", _faiss)
    try:
        bundle = bundles.read(path or bundles.default_path())
    except VireidError as error:
        yield Finding("bundle", f"{error.message} [{error.stable_reason}]", sound=False)
        return
    manifest = bundle.manifest
    yield Finding(
        "bundle", f"{manifest.name} ({manifest.method}), checksums match, space {bundle.space_id[:12]}"
    )
    yield _look("inference", lambda: _run(bundle, device, threads))


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except VireidError as error:
        return Finding(what, f"{error.message} [{error.stable_reason}]", sound=False)
    except ImportError as error:
        return Finding(what, f"cannot be imported ({error}); reinstall vireid", sound=False)


def _processors() -> int:
    """Count the processors this process may run on, which a container can have fewer of."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _onnxruntime() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, offers {', '.join(onnxruntime.get_available_providers())}"


def _faiss() -> str:
    if importlib.util.find_spec("faiss") is None:
        raise ImportError("no module named faiss; run: pip install faiss-cpu")
    for name in ("faiss-gpu", "faiss-cpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "faiss, of no known package"


def _run(bundle: bundles.Bundle, device: str, threads: int) -> str:
    engine = open_engine(bundle, device, threads)
    height, width = engine.input_size
    images = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    modality = np.zeros(1, dtype=np.int64)
    engine.embed(images, modality)
    milliseconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        engine.embed(images, modality)
        milliseconds.append(1000.0 * (time.perf_counter() - start))
    info = engine.info
    return (
        f"{np.median(milliseconds):.1f} ms an image of {height} x {width} to {engine.dim} numbers, "
        f"{info.provider} on {info.device}, {info.precision}, {info.threads} thread(s), {info.runtime}"
    )
