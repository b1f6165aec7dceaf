"""``vireid train``: start a run, or go on with one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training import checkpoint, run
from training.methods import METHODS
from training.settings import read, recipes
from vireid.settings import parse_assignments

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Train a model.")

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command()
def supervised(
    data: Annotated[Path, typer.Option(help="The dataset's root folder.")],
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(recipes())}, or a TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run, new or empty.")],
    name: Annotated[str | None, typer.Option(help="The dataset; found by the layout if left out.")] = None,
    assign: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe.")] = None,
    device: Device = "auto",
) -> None:
    """Train the supervised two-stream baseline."""
    assert "supervised" in METHODS
    overrides: dict[str, Any] = parse_assignments(assign or [])
    started = run.start(out, read(recipe, overrides), data, name, device)
    started.loop.train()
    _tell(started.folder)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(help="The dataset's root, if it moved.")] = None,
    device: Device = "auto",
) -> None:
    """Go on with a run as if it had never stopped."""
    started = run.resume(folder, data, device)
    started.loop.train()
    _tell(started.folder)


def _tell(folder: Path) -> None:
    scores = checkpoint.metrics(folder)
    typer.echo(f"run       {folder}")
    if scores:
        mean = scores["mean"]
        label = " (synthetic)" if scores.get("synthetic") else ""
        typer.echo(f"measured  {scores['protocol']}{label}")
        typer.echo("          " + ", ".join(f"{key} {value:.4f}" for key, value in mean.items()))
    typer.echo(f"next      vireid export onnx {folder} --out model.bundle.zip")
