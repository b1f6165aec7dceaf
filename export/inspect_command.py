"""``vireid export inspect``: what a bundle is, its engines and its graphs. Needs no torch and no runtime."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from export import engine_table
from export.options import BundlePath
from vireid import bundle as bundles
from vireid.bundle import Bundle

app = typer.Typer(add_completion=False, rich_markup_mode=None)

SHOWN = 12  # entries of a list that are written out
NAME_WIDTH = 18


@app.command()
def inspect(
    path: BundlePath,
    as_json: Annotated[bool, typer.Option("--json", help="Print bundle.json as it is.")] = False,
) -> None:
    """Say what a bundle is, whence it comes, which engines it holds and what was proven of them; checksums are verified."""
    found = bundles.read(path)
    manifest = found.manifest.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps({**manifest, "space_id": found.space_id}, indent=2, sort_keys=True))
        return
    _tell(found)
    typer.echo()
    engine_table.show(found)
    _tell_whence(found)
    _tell_graphs(found)


def _tell(found: Bundle) -> None:
    model, prepared = found.manifest.model, found.manifest.preprocess
    model_mb = len(found.file(model.file)) / 1e6
    all_mb = sum(len(data) for data in found.contents.values()) / 1e6
    typer.echo(f"{found.manifest.name}  ({found.manifest.method}, {found.manifest.licence})")
    typer.echo(f"  model       {model.precision}, opset {model.opset}, {model_mb:.1f} MB")
    typer.echo(f"  files       {len(found.contents)}, {all_mb:.1f} MB together, checksums match")
    typer.echo(
        f"  takes       {prepared.height} x {prepared.width} {prepared.channels}, {prepared.interpolation}"
    )
    typer.echo(f"  gives       {model.dim} dimensions, {' and '.join(found.manifest.modalities)}")
    typer.echo(f"  space       {found.space_id}")
    if found.manifest.notice:
        typer.echo(f"  notice      {found.manifest.notice}")


def _tell_whence(found: Bundle) -> None:
    for title, part in (
        ("parity of the model", found.manifest.parity),
        ("provenance", found.manifest.provenance),
        ("metrics", found.manifest.metrics),
    ):
        if part:
            typer.echo(f"\n{title}")
        for line in _lines(part):
            typer.echo(f"  {line}")


def _lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Write a part of bundle.json a line a name; ``--json`` has what is only counted here."""
    for name, value in sorted(part.items()):
        if isinstance(value, Mapping) and any(isinstance(inner, Mapping | str) for inner in value.values()):
            yield name
            yield from (f"  {line}" for line in _lines(value))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield name
            yield from (f"  {_short(entry)}" for entry in value)
        else:
            yield f"{name:<{NAME_WIDTH}} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(inner)}" for name, inner in sorted(value.items())) or "-"
    if isinstance(value, list):
        return f"({len(value)} of them)" if len(value) > SHOWN else " ".join(map(_short, value)) or "-"
    if isinstance(value, float):
        return f"{value:.7g}"
    return value or "-" if isinstance(value, str) else json.dumps(value)


def _tell_graphs(found: Bundle) -> None:
    try:
        from export import graph_summary
    except ModuleNotFoundError as error:
        typer.echo(f"\ngraphs are not looked at: that needs {error.name}; run: pip install 'vireid[export]'")
        return
    files = dict.fromkeys([found.manifest.model.file, *(part.file for part in found.manifest.engines)])
    for file in files:
        summary = graph_summary.summarise(found.file(file), f"{found.path}: {file}")
        typer.echo(f"\n{file}")
        for title, words in summary.lines():
            typer.echo(f"  {title:<11} {words}")
