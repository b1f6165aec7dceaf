"""What the commands print of parity: a line for each engine, its numbers beside the bars. Knows no engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export.parity import Report


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one engine: a report, or why there is none."""

    name: str
    report: Report | None
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """Whether it reached its bars."""
        return self.report is not None and self.report.passed


def show(outcomes: Sequence[Outcome], written: Path) -> None:
    """Print a table, then what was missed, and where it was written."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("engine", "cosine min", "mean", "first 10", "mAP change", "Rank-1", "images", "parity"):
        table.add_column(
            column, justify="left" if column in ("engine", "parity") else "right", no_wrap=column == "engine"
        )
    for one in outcomes:
        table.add_row(one.name, *_numbers(one.report), "passed" if one.passed else "FAILED")
    console.print(table)
    for one in outcomes:
        report = one.report
        told = (one.trouble,) if report is None else (*report.failures, *report.notes)
        for line in told:
            console.print(f"{one.name}: {line}")
    if any(one.report is not None for one in outcomes):
        console.print(f"written  {written}")
    if any(one.passed for one in outcomes):
        console.print(f"next     vireid serve --bundle {written}")


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
        f"{found.map_change:+.3f}",
        f"{found.rank1_change:+.3f}",
        str(report.images),
    )
