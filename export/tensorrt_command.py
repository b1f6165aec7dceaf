"""``vireid export tensorrt``: a plan for this machine's GPU, or ahead of time for others, proven where it can run."""

import functools
import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from export import exam_source, proving, tensorrt_graph, tensorrt_part, trtexec
from export.bars import BARS
from export.exam import Exam
from export.options import BundlePath, KeepFailed, Out, People, Replace, target_of
from export.tensorrt_part import Made, Workshop
from vireid import bundle as bundles
from vireid import progress, tables
from vireid.bundle import Bundle, EnginePart
from vireid.engines import plans, tensorrt_buckets, tensorrt_library
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_driver import Driver, open_driver
from vireid.errors import ExportError, ProviderUnavailable, StorageError

STEPS = 100  # of the bar: per cent

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tensorrt(
    path: BundlePath,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, int8 or fp8.")] = "fp16",
    flavour: Annotated[
        str, typer.Option(help="tensorrt, tensorrt_rtx, or auto: the first that is installed.")
    ] = tensorrt_library.AUTO,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where plans are kept; ~/.cache/vireid/engines if left out."),
    ] = None,
    buckets: Annotated[
        str, typer.Option(help="Batch sizes that kernels are chosen for.")
    ] = tensorrt_buckets.spelled(tensorrt_buckets.BUCKETS),
    sm: Annotated[
        list[str] | None,
        typer.Option(
            help="Build ahead of time for this compute capability, as 8.9; repeatable; tensorrt_rtx only."
        ),
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let fp32 products round their inputs to 10 bits.")
    ] = False,
    level: Annotated[
        int | None, typer.Option(min=0, max=5, help="How long fast kernels are looked for.")
    ] = None,
    dataset: People = None,
    out: Out = None,
    replace: Replace = False,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Leave the bundle as it is.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Build though a plan is there.")] = False,
    keep_failed: KeepFailed = False,
    graph_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the graph as TensorRT is given it.")
    ] = None,
    progress_lines: Annotated[
        bool,
        typer.Option("--progress-lines", help="Tell progress as JSON lines on standard output.", hidden=True),
    ] = False,
) -> None:
    """Build a TensorRT plan of a bundle, prove it on the GPU that is here, and keep it beside its report."""
    if precision not in BARS:
        raise ExportError(f"found the precision {precision!r}; expected one of {', '.join(BARS)}")
    choices = Choices(
        folder=cache or plans.default_folder(),
        flavour=flavour,
        buckets=tensorrt_buckets.parse(buckets),
        tf32=tf32,
        level=level,
        allow_unproven=True,
    )
    bundle = bundles.read(path)
    driver = _driver()
    workshop = Workshop(tensorrt_library.load(flavour), driver, choices, tuple(sm or ()))
    part, files = tensorrt_part.graph_of(bundle, precision)
    known = part in bundle.manifest.engines  # then only its proof is new, which is kept beside the plan
    target = None if plan_only or (known and out is None) else target_of(path, out, replace=replace)
    exam = functools.cache(lambda: _exam(bundle, dataset, progress_lines))

    def build(*, keep: bool) -> Made:
        whole = proving.with_files(bundle, part, files)
        if graph_out is not None:
            _write_graph(graph_out, tensorrt_graph.adapt(whole.file(part.file)))
        with progress.bar(f"building {part.name}", STEPS) as advance:
            tell = _Teller(advance, progress_lines)
            return tensorrt_part.make(whole, part, workshop, exam, tell=tell, again=again, keep_failed=keep)

    halved = bool(files) and driver is not None
    try:
        made = build(keep=keep_failed and not halved)
    except ExportError:
        if not halved:
            raise
        # what half sums lose, exact ones may keep; if not, their error is told
        part, files = tensorrt_part.graph_of(bundle, precision, exact=True)
        made = build(keep=keep_failed)
    if target is not None:
        proving.add(bundle, part, files, made.sidecar.parity, workshop.store.page(made.sidecar), target)
    _summary(bundle, part, workshop, made)
    line = trtexec.line(workshop, bundle.manifest.preprocess, graph_out, made.sidecar.file)
    typer.echo(f"the same by hand: {shlex.join(line)}")


class _Teller:
    """Moves the bar, and tells the same in lines that a program reads."""

    def __init__(self, advance: progress.Advance, lines: bool) -> None:
        self._advance, self._lines, self._done = advance, lines, 0

    def __call__(self, done: float) -> None:
        reached = int(done * STEPS)
        if reached > self._done:
            self._advance(reached - self._done)
            self._done = reached
            if self._lines:
                _tell("building", done)


def _tell(stage: str, done: float) -> None:
    typer.echo(json.dumps({"stage": stage, "done": round(done, 3)}))


def _driver() -> Driver | None:
    try:
        return open_driver()
    except ProviderUnavailable as error:
        typer.echo(f"{error.message}; what is built here stays unproven", err=True)
        return None


def _exam(bundle: Bundle, dataset: Path | None, lines: bool) -> Exam:
    if lines:
        _tell("proving", 0.0)
    return exam_source.of(bundle, dataset)


def _write_graph(path: Path, graph: bytes) -> None:
    try:
        path.write_bytes(graph)
    except OSError as error:
        raise StorageError(
            f"the graph cannot be written to {path} ({error.strerror}); name another file"
        ) from error


def _summary(bundle: Bundle, part: EnginePart, workshop: Workshop, made: Made) -> None:
    purpose, parity = made.sidecar.purpose, made.sidecar.parity
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    table.add_row("engine", f"{part.name} of {bundle.manifest.name}")
    table.add_row("library", f"{purpose.module} {purpose.version}")
    table.add_row(
        "for",
        f"{purpose.gpu} (sm {purpose.sm})"
        if purpose.gpu
        else "any GPU, ahead of time"
        if purpose.sm == plans.ANY_SM
        else f"GPUs of sm {purpose.sm}, ahead of time",
    )
    table.add_row("batches", tensorrt_buckets.spelled(purpose.profiles))
    how = f"built in {made.sidecar.built_s:.1f} s" if made.built else "there already"
    table.add_row("plan", f"{workshop.choices.folder / made.sidecar.file}, {made.size / 1e6:.1f} MB, {how}")
    table.add_row("parity", f"not proven: {made.unproven}" if made.unproven else _words(parity))
    if made.sidecar.page:
        table.add_row("page", str(workshop.choices.folder / made.sidecar.page))
    tables.show(table)


def _words(parity: object) -> str:
    assert isinstance(parity, dict)
    return f"cosine min {parity['cosine_min']}, mean {parity['cosine_mean']} over batches {parity['batches']}"
