"""``vireid export onnx``: a training run to a proven bundle, and a bundle's model in half precision.

Torch is imported only where there is a run: a bundle's graph becomes half without it.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from export import engine_table, exam_source, half_parts, magnitude
from export.half import Half
from export.half_parts import Added
from export.options import People, Replace, target_of
from vireid import bundle as bundles
from vireid import progress
from vireid.bundle import Bundle
from vireid.bundle_files import MANIFEST
from vireid.errors import ExportError

HALVES: dict[str, Half] = {"fp16": "fp16", "bf16": "bf16"}
PRECISIONS = ("fp32", *HALVES)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def onnx(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE", help="A training run, or a bundle to add to.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The bundle: a .zip or a new folder; left out, the .zip that was read."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32 (always there), fp16 or bf16; repeatable."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of a run's bundle; the run's folder name if left out.")] = "",
    opset: Annotated[int, typer.Option(help="Of a run's graph, 18 to 23.")] = 22,
    dataset: People = None,
    replace: Replace = False,
    keep_failed: Annotated[
        bool,
        typer.Option("--keep-failed", help="Keep a half that fails; it serves with --allow-unproven only."),
    ] = False,
) -> None:
    """Write a run's network as one ONNX graph, proven against torch, or add half precisions to a bundle.

    fp16 serves in ONNX Runtime and TensorRT, bf16 in TensorRT. What only a GPU can run is estimated here and added
    unproven: 'vireid export tensorrt' proves it there. A half whose proof fails is not written; of several, the others are.
    """
    halves = _halves(precision or [])
    is_bundle = source.suffix == ".zip" or (source / MANIFEST).is_file()
    target = _target(source, out, is_bundle=is_bundle, replace=replace)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work.zip"
        if is_bundle:
            if not halves:
                raise ExportError(
                    f"{source} is a bundle already; say what to add with --precision fp16 or bf16"
                )
            read = bundles.read(source)
            bundles.write(work, read.manifest, read.contents)
        else:
            _export(source, work, name, opset)
        added, failed = _added(work, halves, dataset, keep_failed=keep_failed)
        refusal = "; ".join(f"{each}: {why}" for each, why in failed.items())
        if refusal and is_bundle and not added:
            raise ExportError(refusal)
        done = bundles.read(work)
        bundles.write(target, done.manifest, done.contents)
    _tell(bundles.read(target), added)
    if refusal:
        raise ExportError(f"{target} is written without {' and '.join(failed)}: {refusal}")


def _added(
    work: Path, halves: list[Half], dataset: Path | None, *, keep_failed: bool
) -> tuple[dict[Half, Added], dict[Half, str]]:
    """Add halves to a bundle; return what became of those that were added, and why the others were not."""
    added: dict[Half, Added] = {}
    failed: dict[Half, str] = {}
    if not halves:
        return added, failed
    exam = exam_source.of(bundles.read(work), dataset)
    for each in halves:
        try:
            added[each] = half_parts.add(work, each, exam, progress.bar, keep_failed=keep_failed)
        except ExportError as error:
            failed[each] = error.message
    return added, failed


def _halves(asked: list[str]) -> list[Half]:
    unknown = [each for each in asked if each not in PRECISIONS]
    if unknown:
        raise ExportError(f"found the precision {unknown[0]!r}; expected one of {', '.join(PRECISIONS)}")
    return [HALVES[each] for each in dict.fromkeys(asked) if each in HALVES]


def _target(source: Path, out: Path | None, *, is_bundle: bool, replace: bool) -> Path:
    """Say where the bundle goes.

    Raises:
        AlreadyExists, StorageError: as for ``target_of``.
        ExportError: nobody said where.
    """
    if out is None and not is_bundle:
        raise ExportError("say where the bundle goes with --out, for example --out model.bundle.zip")
    return target_of(source, out, replace=replace)


def _export(run: Path, out: Path, name: str, opset: int) -> None:
    from export import to_onnx
    from training import checkpoint

    settings = checkpoint.load_settings(run)
    prepared = checkpoint.preprocessing(run)
    description = to_onnx.Description(
        name=name or run.resolve().name,
        method=settings.method.name,
        mean=prepared["mean"],
        std=prepared["std"],
        provenance=checkpoint.provenance(run),
        metrics=checkpoint.metrics(run),
    )
    model = checkpoint.load_model(run)
    with progress.bar("exporting", to_onnx.STEPS) as advance:
        to_onnx.export(model, description, out, opset=opset, advance=advance)


def _tell(bundle: Bundle, added: dict[Half, Added]) -> None:
    typer.echo(f"bundle    {bundle.path}")
    typer.echo(f"space     {bundle.space_id}")
    engine_table.show(bundle)
    for precision, made in added.items():
        halved = made.halved
        typer.echo(f"{precision:<9} {halved.half} of {halved.half + halved.full} convolutions and products")
        for kept, value in halved.kept.items():
            typer.echo(f"          {kept} stays fp32: it reaches {value:.3g}; {magnitude.FP16_HOLDS}")
        if made.exact:
            typer.echo("          sums stay fp32: in half precision they were not near enough")
        if precision == "bf16":
            found = f"cosine min {made.report.cosine_min:.6f}, mean {made.report.cosine_mean:.6f}"
            typer.echo(f"          estimated by rounding in fp32: {found}")
        if not made.report.passed:
            typer.echo(f"          failed: {'; '.join(made.report.failures)}")
    unproven = [part.name for part in bundle.manifest.engines if not part.proven]
    if unproven:
        typer.echo(
            f"unproven  {', '.join(unproven)}: they do not serve until 'vireid export tensorrt' proves them on a GPU"
        )
    typer.echo(f"next      vireid serve --bundle {bundle.path}")
