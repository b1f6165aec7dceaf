"""``vireid export``: a checkpoint to a proven bundle, a look into a bundle, and the making of the default one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vireid import bundle

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Turn a checkpoint into a proven bundle.",
)


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
