"""``vireid export fp8``: a graph in FP8 (E4M3) for TensorRT, tried here as far as a processor can."""

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
def fp8(
    path: BundlePath,
    calibrate: Calibrate,
    dataset: People = None,
    out: Out = None,
    way: CalibrationWay = None,
    count: CalibrationCount = 64,
    threads: Threads = 1,
    keep_failed: KeepFailed = False,
) -> None:
    """Add a tensorrt-fp8 engine; it stays unproven until 'vireid export tensorrt' has run it on a GPU."""
    order = Order("tensorrt", "fp8", eight_bits_table.way_of(way), threads, keep_failed)
    eight_bits_table.run(Places(path, calibrate, dataset, out), order, count)
