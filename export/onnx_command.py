"""``vireid export onnx``: a training run to a proven bundle."""

from pathlib import Path
from typing import Annotated

import typer

from export.to_onnx import Description, export
from training import checkpoint
from vireid import bundle
from vireid.errors import AlreadyExists

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def onnx(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The bundle: a .zip, or a new folder.")],
    name: Annotated[str, typer.Option(help="Shown to users; the run's folder name if left out.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a bundle that is there.")
    ] = False,
) -> None:
    """Write a run's network as one ONNX graph, proven against torch; nothing is left if it differs."""
    if out.exists() and not replace:
        raise AlreadyExists(f"{out} exists already; name another --out, or replace it with --replace")
    settings = checkpoint.load_settings(run)
    prepared = checkpoint.preprocessing(run)
    description = Description(
        name=name or run.resolve().name,
        method=settings.method.name,
        mean=prepared["mean"],
        std=prepared["std"],
        provenance=checkpoint.provenance(run),
        metrics=checkpoint.metrics(run),
    )
    written = bundle.read(export(checkpoint.load_model(run), description, out))
    parity = written.manifest.parity
    typer.echo(f"bundle    {out}")
    typer.echo(f"space     {written.space_id}")
    typer.echo(f"parity    cosine min {parity['cosine_min']:.7f} over batches {parity['batches']}")
    typer.echo(f"next      vireid serve --bundle {out}")
