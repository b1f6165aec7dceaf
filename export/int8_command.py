"""``vireid export int8``: an engine of a bundle whose convolutions compute in eight bits, proven before it is added."""

from pathlib import Path
from typing import Annotated

import typer

from export import eight_bits_table
from export.eight_bits import Order
from export.eight_bits_table import Places

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def int8(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    calibrate: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Images of both modalities: a dataset, or what a gallery was filled from."
        ),
    ],
    dataset: Annotated[
        Path | None, typer.Option(metavar="DIR", help="People to prove it on; drawn ones if left out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The bundle with this engine; the .zip that was read if left out."),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(help="onnxruntime, or tensorrt: evenly around nought, and unproven until a GPU ran it."),
    ] = "onnxruntime",
    way: Annotated[
        str | None, typer.Option(help="minmax, percentile or entropy; the nearest if left out.")
    ] = None,
    count: Annotated[int, typer.Option(min=4, help="Calibration images, half of them infrared.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    keep_failed: Annotated[
        bool,
        typer.Option("--keep-failed", help="Keep it though it fails; it serves with --allow-unproven only."),
    ] = False,
) -> None:
    """Add an int8 engine: as many layers as the bar allows, the others in fp32; or say what misses the bar."""
    order = Order(
        eight_bits_table.runtime_of(runtime), "int8", eight_bits_table.way_of(way), threads, keep_failed
    )
    eight_bits_table.run(Places(path, calibrate, dataset, out), order, count)
