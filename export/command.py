"""``vireid export``: a checkpoint to a proven bundle, a look into a bundle, and the making of the default one.

Looking into a bundle needs no torch: what needs it is imported when it is called.
"""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as typer_command

from vireid import bundle

# name -> (module that holds `app`, one line for --help): what needs torch, or much else
ON_DEMAND = {
    "onnx": ("export.onnx_command", "Write a training run as one proven ONNX graph."),
    "int8": ("export.int8_command", "Add an engine in eight bits, proven, to a bundle."),
    "fp8": ("export.fp8_command", "Add an FP8 graph for TensorRT to a bundle."),
    "default-bundle": (
        "export.default_bundle_command",
        "Make and measure the bundle that comes with vireid.",
    ),
}


class _Commands(TyperGroup):
    """The commands of this module, and what needs torch on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands."""
        return [*ON_DEMAND, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, importing what needs torch only when it is called."""
        if cmd_name not in ON_DEMAND:
            return super().get_command(ctx, cmd_name)
        return typer_command(importlib.import_module(ON_DEMAND[cmd_name][0]).app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing torch."""
        own = [(name, super(_Commands, self).get_command(ctx, name)) for name in super().list_commands(ctx)]
        rows = [(name, line) for name, (_, line) in ON_DEMAND.items()]
        rows += [(name, command.get_short_help_str(limit=80)) for name, command in own if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Turn a checkpoint into a proven bundle.",
)


@app.callback()
def root() -> None:
    """Turn a checkpoint into a proven bundle."""


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print bundle.json as it is.")] = False,
) -> None:
    """Say what a bundle is, whence it comes and what was proven of it; its checksums are verified."""
    found = bundle.read(path)
    manifest = found.manifest.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps({**manifest, "space_id": found.space_id}, indent=2, sort_keys=True))
        return
    model, prepared = found.manifest.model, found.manifest.preprocess
    size_mb = sum(len(data) for data in found.contents.values()) / 1e6
    typer.echo(f"{found.manifest.name}  ({found.manifest.method}, {found.manifest.licence})")
    typer.echo(f"  model       {model.precision}, opset {model.opset}, {size_mb:.1f} MB, checksums match")
    typer.echo(
        f"  takes       {prepared.height} x {prepared.width} {prepared.channels}, {prepared.interpolation}"
    )
    typer.echo(f"  gives       {model.dim} dimensions, {' and '.join(found.manifest.modalities)}")
    typer.echo(f"  space       {found.space_id}")
    for title, part in (
        ("parity", found.manifest.parity),
        ("provenance", found.manifest.provenance),
        ("metrics", found.manifest.metrics),
    ):
        typer.echo(f"  {title:<11} {json.dumps(dict(part), sort_keys=True)}")
    if found.manifest.notice:
        typer.echo(f"  notice      {found.manifest.notice}")
