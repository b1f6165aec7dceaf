"""``vireid export fp8``: a graph in FP8 (E4M3) for TensorRT, tried here as far as a processor can."""

from pathlib import Path
from typing import Annotated

import typer

from export import eight_bits_table
from export.eight_bits import Order
from export.eight_bits_table import Places

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def fp8(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    calibrate: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Images of both modalities: a dataset, or what a gallery was filled from."
        ),
    ],
    dataset: Annotated[
        Path | None, typer.Option(metavar="DIR", help="People to try it on; drawn ones if left out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The bundle with this engine; the .zip that was read if left out."),
    ] = None,
    way: Annotated[
        str | None, typer.Option(help="minmax, percentile or entropy; the nearest if left out.")
    ] = None,
    count: Annotated[int, typer.Option(min=4, help="Calibration images, half of them infrared.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Keep it though it misses its bar.")
    ] = False,
) -> None:
    """Add a tensorrt-fp8 engine; it stays unproven until 'vireid export tensorrt' has run it on a GPU."""
    order = Order("tensorrt", "fp8", eight_bits_table.way_of(way), threads, keep_failed)
    eight_bits_table.run(Places(path, calibrate, dataset, out), order, count)
