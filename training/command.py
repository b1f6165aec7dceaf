"""``vireid train``: start a run, or go on with one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training import checkpoint, run
from training.run import Started
from training.settings import read, recipes
from vireid.settings import parse_assignments

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Train a model.")

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command()
def supervised(
    data: Annotated[Path, typer.Option(help="The dataset's root folder.")],
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(recipes())}, or a TOML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, new or empty; runs/RECIPE if left out.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The dataset; found by the layout if left out.")] = None,
    assign: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--init", help="Standard ResNet weights (.safetensors) to start from.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train the supervised two-stream baseline."""
    overrides: dict[str, Any] = parse_assignments(assign or [])
    settings = read(recipe, overrides, "supervised")
    _train(run.start(out or Path("runs") / Path(recipe).stem, settings, data, name, device, weights))


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(help="The dataset's root, if it moved.")] = None,
    device: Device = "auto",
) -> None:
    """Go on with a run as if it had never stopped."""
    _train(run.resume(folder, data, device))


def _train(started: Started) -> None:
    try:
        started.loop.train()
    except KeyboardInterrupt:
        typer.echo(f"stopped after {started.loop.epoch} whole epochs", err=True)
        if started.loop.epoch:
            typer.echo(f"go on with: vireid train resume {started.folder}", err=True)
        raise typer.Exit(130) from None
    _tell(started.folder)


def _tell(folder: Path) -> None:
    typer.echo(f"run       {folder}")
    for line in checkpoint.read_metrics(folder):
        scores = line.get("evaluation")
        if scores:
            label = "synthetic: " if scores["synthetic"] else ""
            means = ", ".join(f"{key} {value:.4f}" for key, value in scores["mean"].items())
            typer.echo(f"epoch {line['epoch']:<3} {means}  ({label}{scores['protocol']['words']})")
    typer.echo(f"next      vireid export onnx {folder} --out model.bundle.zip")
