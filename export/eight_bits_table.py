"""What the commands of eight bits end with: a table of what was made. Knows no command line."""

from pathlib import Path

from rich.table import Table

from export.bars import BARS
from export.eight_bits import Made, Order
from vireid import tables

SHOWN = 8  # layers that are named


def show(order: Order, made: Made, calibrated_on: str, before: int, written: Path) -> None:
    """Print what became of an order.

    Args:
        order: what was to be made.
        made: what was.
        calibrated_on: which images, in words.
        before: bytes of the graph in fp32.
        written: the bundle.
    """
    tables.show(_table(order, made, calibrated_on, before, written))


def _reached(made: Made) -> tuple[float, float]:
    """Return the mean cosine and the change of mAP in points, of the proof or of the trial in its place."""
    if made.report is not None:
        ranking = made.report.ranking
        return made.report.cosine_mean, 0.0 if ranking is None else ranking.map_change
    assert made.score is not None, "what was not proven was scored"
    return made.score.cosine_mean, made.score.map_change


def _table(order: Order, made: Made, calibrated_on: str, before: int, target: Path) -> Table:
    found, quantiser, bar = made.found, made.quantiser, BARS[order.precision]
    kept = {layer.name for layer in found.kept}
    rounded = [layer for layer in quantiser.layers if layer.name not in kept]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("engine", f"{order.scheme} in {target}")
    table.add_row("calibrated", f"{quantiser.way}, on {calibrated_on}")
    table.add_row(
        "layers",
        f"{len(rounded)} of {len(quantiser.layers)} in {order.precision}, {100 * quantiser.share(rounded):.1f} % of the work",
    )
    if found.kept:
        named = ", ".join(layer.name for layer in found.kept[:SHOWN])
        more = f" and {len(kept) - SHOWN} more" if len(kept) > SHOWN else ""
        table.add_row("in fp32", f"{named}{more}")
    table.add_row("size", f"{before / 1e6:.1f} MB to {len(found.graph) / 1e6:.1f} MB")
    mean, change = _reached(made)
    table.add_row("cosine mean", f"{mean:.4f} (at least {bar.cosine_mean})")
    table.add_row("mAP", f"{change:+.2f} points (at most {bar.map_loss} may be lost)")
    if made.report is None:
        table.add_row(
            "parity",
            "not proven: the same arithmetic in onnxruntime; where it is to serve, run "
            f"'vireid export tensorrt {target} --precision {order.precision}'",
        )
    else:
        table.add_row("parity", "passed" if made.report.passed else "; ".join(made.report.failures))
        for note in made.report.notes:
            table.add_row("note", note)
    return table
