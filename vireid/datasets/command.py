"""``vireid data``: verify, describe, list and draw datasets.

``synth`` is imported only when it is called: verifying and describing need no numba.
"""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as typer_command

from vireid.datasets import READERS, SOURCES, listing, open_dataset
from vireid.datasets import verify as verification
from vireid.datasets.split import Split
from vireid.described import MANIFEST

SYNTH = ("synth", "vireid.datasets.synthetic.command", "Draw a synthetic dataset in a published layout.")
NAMES = ", ".join((*READERS, *SOURCES))


class _Commands(TyperGroup):
    """The commands of this module, and ``synth`` on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands."""
        return [*super().list_commands(ctx), SYNTH[0]]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, importing the generator only for ``synth``."""
        if cmd_name != SYNTH[0]:
            return super().get_command(ctx, cmd_name)
        return typer_command(importlib.import_module(SYNTH[1]).app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing the generator."""
        rows = []
        for name in self.list_commands(ctx):
            command = None if name == SYNTH[0] else super().get_command(ctx, name)
            rows.append((name, SYNTH[2] if command is None else command.get_short_help_str(limit=80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Draw, verify and describe datasets.",
)

Root = Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's root folder.")]
Name = Annotated[str | None, typer.Option(help=f"One of {NAMES}; found by the layout if left out.")]


@app.command()
def verify(
    root: Root,
    name: Name = None,
    synthetic: Annotated[
        bool | None,
        typer.Option(
            "--synthetic/--real",
            help="Demand the layout alone, or the published counts too; decided by synthetic.json if left out.",
        ),
    ] = None,
) -> None:
    """Compare a dataset copy with the published one; status 1 if something is missing."""
    report = verification.verify(root, name, synthetic)
    kind = "structure only, counts are reported" if report.synthetic else "against the published counts"
    typer.echo(f"{report.name} at {report.root} ({kind})")
    for count in report.counts:
        expected = "" if count.expected is None else f"  expected {count.expected}"
        mark = "ok  " if count.ok else "FAIL"
        typer.echo(f"  {mark} {count.found:>7}  {count.what}{'' if count.ok else expected}")
    for note in report.notes:
        typer.echo(f"  note: {note}")
    for problem in report.problems:
        typer.echo(f"  FAIL: {problem}")
    if not report.ok:
        wrong = len(report.problems) + sum(not c.ok for c in report.counts)
        typer.echo(f"{wrong} of the checks failed", err=True)
        raise typer.Exit(1)
    typer.echo("complete")


@app.command()
def info(
    root: Root,
    name: Name = None,
    trial: Annotated[int, typer.Option(help="RegDB's identity split, 1 to 10.")] = 1,
) -> None:
    """Describe a dataset: its splits, persons and cameras."""
    dataset = open_dataset(name or verification.detect(root), root, trial)
    typer.echo(f"{dataset.name} at {dataset.root}{' (synthetic)' if dataset.synthetic else ''}")
    for split in (dataset.train, dataset.query, dataset.gallery):
        typer.echo(f"  {split.name:8} {_describe(split)}")


@app.command()
def manifest(
    root: Root,
    name: Name = None,
    trial: Annotated[int, typer.Option(help="RegDB's identity split, 1 to 10.")] = 1,
    to: Annotated[Path | None, typer.Option(help="The file to write; DIR/manifest.csv if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell what was written as JSON.")] = False,
) -> None:
    """List a dataset's images as manifest.csv: path, person, camera, modality, split."""
    dataset = open_dataset(name or verification.detect(root), root, trial)
    target = to or root / MANIFEST
    written = listing.write(dataset, target)
    if as_json:
        told = {"dataset": dataset.name, "synthetic": dataset.synthetic, "manifest": str(target), **written}
        typer.echo(json.dumps(told))
        return
    counts = ", ".join(f"{count} {part}" for part, count in written.items())
    typer.echo(f"{dataset.name}: {counts} images listed in {target}")


def _describe(split: Split) -> str:
    cameras = sorted({s.camera for s in split.samples})
    infrared = sum(int(s.modality) for s in split.samples)
    return (
        f"{len(split):7} images: {len(split) - infrared} visible, {infrared} infrared; "
        f"{len({s.person for s in split.samples})} persons; cameras {', '.join(map(str, cameras)) or '-'}"
    )
