"""``vireid doctor``: what this machine can run, tried out and told in one table."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from vireid import bundle as bundles
from vireid import tables
from vireid.bundle import SOURCE
from vireid.counted import counted
from vireid.engines import Engine, choice, runtimes
from vireid.errors import BundleError, MissingExtra, ProviderUnavailable, VireidError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

RUNS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: what was looked at.
        found: what was found, or what is wrong and what to do.
        sound: False only where something that should work does not.
        there: False where something could be and is not, which is no fault.
    """

    what: str
    found: str
    sound: bool = True
    there: bool = True

    @property
    def mark(self) -> str:
        """The word in front of the line."""
        if not self.sound:
            return "FAILS"
        return "ok" if self.there else "-"


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
        table.add_row(finding.mark, finding.what, finding.found)
        failed |= not finding.sound
    tables.show(table)
    if failed:
        raise typer.Exit(1)


def examine(path: Path | None, device: str, threads: int) -> Iterator[Finding]:
    """Look at the machine, then at a bundle: read it, open it, run it."""
    yield Finding("python", f"{platform.python_version()} on {platform.machine()} {platform.system()}")
    yield Finding("processors", f"{_processors()} this process may use")
    for runtime in runtimes.survey():
        yield Finding(runtime.name, runtime.found, sound=not runtime.broken, there=runtime.usable)
    try:
        bundle = bundles.open_named(path)
    except VireidError as error:
        yield Finding("bundle", f"{error.message} [{error.stable_reason}]", sound=False)
        return
    manifest = bundle.manifest
    yield Finding(
        "bundle", f"{manifest.name} ({manifest.method}), checksums match, space {bundle.space_id[:12]}"
    )
    for name in choice.names(bundle):
        yield _engine(bundle, name, device, threads)
    try:
        taken = choice.choose(bundle, device=device)
    except VireidError as error:
        yield Finding("auto takes", f"{error.message} [{error.stable_reason}]", sound=False)
        return
    yield Finding("auto takes", f"{taken.name}, {taken.reason}")
    for other in taken.not_taken:
        yield Finding(f"not {other.name}", other.reason, there=False)


def _engine(bundle: bundles.Bundle, name: str, device: str, threads: int) -> Finding:
    """Run one engine; only what is proven and cannot run though it is installed is a fault."""
    trouble = choice.unproven(bundle, name)
    try:
        ran = _run(choice.open_named(bundle, name, device, threads))
    except (MissingExtra, ProviderUnavailable) as error:
        # the model itself must run where it is asked to
        return Finding(name, f"{error.message} [{error.stable_reason}]", sound=name != SOURCE, there=False)
    except VireidError as error:
        fault = name == SOURCE or isinstance(error, BundleError)
        return Finding(name, f"{error.message} [{error.stable_reason}]", sound=not fault, there=False)
    except ImportError as error:
        return Finding(name, f"cannot be imported ({error}); install vireid again", sound=False)
    return Finding(name, f"{ran}; not proven: {trouble}" if trouble else f"{ran}; proven")


def _processors() -> int:
    """Count the processors this process may run on, which a container can have fewer of."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(engine: Engine) -> str:
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
        f"{info.provider} on {info.device}, {info.precision}, {counted(info.threads, 'thread')}, {info.runtime}"
    )
