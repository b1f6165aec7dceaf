"""What the commands print of parity: a line for each engine, its numbers beside the bars. Knows no engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table

from export.parity import Report
from vireid import tables


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one engine: a report, or why there is none.

    Attributes:
        name: of the engine.
        report: what was found of it; None where it cannot run here.
        trouble: why it cannot.
    """

    name: str
    report: Report | None
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """Whether it reached its bars."""
        return self.report is not None and self.report.passed

    @property
    def verdict(self) -> str:
        """What became of it, in words."""
        if self.report is None:
            return "cannot run here"
        return "passed" if self.report.passed else "FAILED"


def show(outcomes: Sequence[Outcome], written: Path) -> None:
    """Print a table, then what was missed, and where it was written."""
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("engine", "cosine min", "mean", "first 10", "mAP change", "Rank-1", "images", "parity"):
        words = column in ("engine", "parity")
        table.add_column(column, justify="left" if words else "right", no_wrap=words)
    for one in outcomes:
        table.add_row(one.name, *_numbers(one.report), one.verdict)
    tables.show(table)
    for one in outcomes:
        report = one.report
        told = (one.trouble,) if report is None else (*report.failures, *report.notes)
        for line in told:
            typer.echo(f"{one.name}: {line}")
    if any(one.report is not None for one in outcomes):
        typer.echo(f"written  {written}")
    if any(one.passed for one in outcomes):
        typer.echo(f"next     vireid serve --bundle {written}")


def _numbers(report: Report | None) -> tuple[str, ...]:
    if report is None:
        return ("",) * 6
    found = report.ranking
    cosines = (f"{report.cosine_min:.5f}", f"{report.cosine_mean:.5f}")
    if found is None:
        return (*cosines, "", "", "", str(report.images))
    first = found.agreement[10]
    return (
        *cosines,
        "" if first is None else f"{100 * first:.1f} %",
        f"{found.map_change:+z.3f}",
        f"{found.rank1_change:+z.3f}",
        str(report.images),
    )
