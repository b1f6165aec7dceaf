"""``vireid train compare``: several runs in one table and one picture."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with table and pictures.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every number here.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write all columns here, as Markdown.")
    ] = None,
) -> None:
    """Put runs side by side: seeds of one recipe as mean and deviation, what was measured otherwise apart.

    Runs of one recipe that differ in seed, identity split or drawn people are one row. Rows stand in one table only if
    the same protocol scored them on the same data.
    """
    from rich.console import Console

    from training.comparison import content
    from training.comparison import table as tables
    from training.comparison.write import write

    found = content.read(folders)
    console = Console()
    wide = console if console.is_terminal else Console(width=140)
    wide.print(tables.terminal(found, wide.width))
    for form, path in write(found, out, json_file, table).items():
        typer.echo(f"{form:<9} {path}")
