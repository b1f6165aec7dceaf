"""A table on standard output: fitted to a terminal, whole lines anywhere else. Knows nothing of what is in it."""

import sys

from rich.console import Console
from rich.table import Table

WIDE = 10_000  # wider than any line: who reads from a pipe looks for words that stand together


def show(table: Table, *, whole: bool = False) -> None:
    """Print a table; a file or a pipe gets a line a row, however long, with no space at its end.

    Args:
        table: what is printed.
        whole: break no row on a terminal either, which does that itself where it is narrower.
    """
    console = Console(markup=False, highlight=False)
    if console.is_terminal and not whole:
        console.print(table)
        return
    wide = Console(markup=False, highlight=False, width=WIDE)
    with wide.capture() as caught:
        wide.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in caught.get().splitlines())
