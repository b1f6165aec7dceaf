"""``vireid export openvino``: a bundle's model in OpenVINO, in bf16, fp32 or eight bits, proven before it is added."""

from typing import Annotated

import typer

from export import comparison, exam_source, openvino_part, parity_table, proving
from export.options import BundlePath, KeepFailed, Out, People, Replace, Threads, target_of
from export.parity_table import Outcome
from vireid import bundle as bundles
from vireid import progress
from vireid.bundle import Bundle, EnginePart
from vireid.errors import ExportError

PRECISIONS = ("bf16", "fp32", "int8")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def openvino(
    path: BundlePath,
    precision: Annotated[
        str, typer.Option(help="bf16, fp32, or int8, which takes the graph of onnxruntime-int8.")
    ] = "bf16",
    dataset: People = None,
    out: Out = None,
    replace: Replace = False,
    threads: Threads = 1,
    keep_failed: KeepFailed = False,
) -> None:
    """Add an OpenVINO engine: the bundle's own graph, calculated in another way; nothing is written if it fails.

    Where bf16 alone is not near enough, as little of the graph's beginning as will do stays fp32.
    """
    bundle = bundles.read(path)
    target = target_of(path, out, replace=replace)
    part = EnginePart.model_validate(
        {"runtime": "openvino", "precision": precision, "file": _file(bundle, precision)}
    )
    images = exam_source.of(bundle, dataset)
    if precision == "bf16":
        added = openvino_part.add_bf16(
            bundle, images, target, progress.bar, keep_failed=keep_failed, threads=threads
        )
        report = added.report
        if added.cut is not None:
            share = f"{100 * added.cut.share:.0f} % of the multiplications"
            typer.echo(f"fp32      until {added.cut.name}, {share}: in bf16 it was not near enough")
    else:
        with progress.bar(f"comparing {part.name}", comparison.steps(len(images))) as advance:
            report = proving.prove_and_add(
                bundle, part, {}, images, target, keep_failed=keep_failed, threads=threads, advance=advance
            )
    parity_table.show([Outcome(part.name, report)], target)


def _file(bundle: Bundle, precision: str) -> str:
    """Name the graph that is compiled: the model's own, or one that is quantised already.

    Raises:
        ExportError: a precision that OpenVINO has no way to, or no quantised graph.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"found the precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision != "int8":
        return bundle.manifest.model.file
    for part in bundle.manifest.engines:
        if part.name == "onnxruntime-int8":
            return part.file
    raise ExportError(
        f"{bundle.path} holds no quantised graph; make one first: vireid export int8 {bundle.path} --calibrate DIR"
    )
