"""``vireid export int8``: an engine of a bundle whose convolutions compute in eight bits, proven before it is added."""

from typing import Annotated

import typer

from export import eight_bits_table
from export.eight_bits import Order
from export.eight_bits_table import Places
from export.options import (
    BundlePath,
    Calibrate,
    CalibrationCount,
    CalibrationWay,
    KeepFailed,
    Out,
    People,
    Threads,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def int8(
    path: BundlePath,
    calibrate: Calibrate,
    dataset: People = None,
    out: Out = None,
    runtime: Annotated[
        str,
        typer.Option(help="onnxruntime, or tensorrt: evenly around nought, and unproven until a GPU ran it."),
    ] = "onnxruntime",
    way: CalibrationWay = None,
    count: CalibrationCount = 64,
    threads: Threads = 1,
    keep_failed: KeepFailed = False,
) -> None:
    """Add an int8 engine: as many layers as the bar allows, the others in fp32; or say what misses the bar."""
    order = Order(
        eight_bits_table.runtime_of(runtime), "int8", eight_bits_table.way_of(way), threads, keep_failed
    )
    eight_bits_table.run(Places(path, calibrate, dataset, out), order, count)
