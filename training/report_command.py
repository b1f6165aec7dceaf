"""``vireid train report``: the report of a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="The dataset's root, if it moved.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The report; RUN/report.html if left out.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write every picture there too, as SVG and PNG.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--init", help="The weights the run began with, if they were not fresh.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Draw what a run did: curves, labels, what its network finds, how it sees two modalities."""
    from training.report import write  # pictures and torch: seconds

    typer.echo(f"report    {write(folder, data, html, pictures, weights, device)}")
