"""``vireid export parity``: hold a bundle's engines against its model, and write what was found into the bundle."""

from pathlib import Path
from typing import Annotated

import typer

from export import comparison, exam_source, parity_table, proving
from export.exam import Exam
from export.options import BundlePath, People, Replace, Threads, target_of
from export.parity_table import Outcome
from vireid import bundle as bundles
from vireid import progress
from vireid.bundle import SOURCE, Bundle, EnginePart
from vireid.engines import choice
from vireid.errors import EngineError, ExportError, MissingExtra

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def parity(
    path: BundlePath,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Which engine; repeatable; all if left out.")
    ] = None,
    dataset: People = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The bundle with the reports; the .zip that was read if left out."),
    ] = None,
    replace: Replace = False,
    device: Annotated[str, typer.Option(help="Where the engines run: auto, cpu or cuda.")] = "auto",
    threads: Threads = 1,
) -> None:
    """Hold engines against the model they were made from; the report goes into the bundle, status 1 if one fails.

    An engine that cannot run on this machine keeps the report it has; that is a failure only where it was asked for by name.
    """
    bundle = bundles.read(path)
    target = target_of(path, out, replace=replace)
    parts = _asked(bundle, engine)
    images = exam_source.of(bundle, dataset)
    outcomes = []
    for part in parts:
        outcome = _examined(bundle, part, images, target, device, threads)
        outcomes.append(outcome)
        if outcome.report is not None:
            bundle = bundles.read(target)
    parity_table.show(outcomes, target)
    if not all(one.passed or (one.report is None and not engine) for one in outcomes):
        raise typer.Exit(1)


def _asked(bundle: Bundle, names: list[str] | None) -> tuple[EnginePart, ...]:
    if not names:
        if not bundle.manifest.engines:
            raise ExportError(
                f"{bundle.path} holds its model only, which was proven when it was exported; add an engine first: "
                "vireid export int8, openvino or tensorrt"
            )
        return bundle.manifest.engines
    parts = [choice.part_of(bundle, name) for name in dict.fromkeys(names)]
    if None in parts:
        raise ExportError(f"{SOURCE} is the model itself; name an engine that was made from it")
    return tuple(part for part in parts if part is not None)


def _examined(
    bundle: Bundle, part: EnginePart, images: Exam, target: Path, device: str, threads: int
) -> Outcome:
    """Examine one engine; a failure is written too, so that it does not serve by an older report."""
    total = comparison.steps(len(images))
    try:
        with progress.bar(f"comparing {part.name}", total) as advance:
            report = proving.prove_and_add(
                bundle,
                part,
                {},
                images,
                target,
                keep_failed=True,
                device=device,
                threads=threads,
                advance=advance,
            )
    except (EngineError, MissingExtra) as error:
        return Outcome(part.name, None, error.message)
    return Outcome(part.name, report)
