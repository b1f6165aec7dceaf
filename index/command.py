"""``vireid index``: build, inspect and search a folder of galleries without a server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from index import (
    centre_command,
    neutral_command,
    recall_command,
    reembed_command,
    sources,
    upkeep_command,
)
from index.answers import Found
from index.build import Embedder, build, read_file
from index.centres import applied
from index.model import BundleName, Device, EngineName, open_model
from index.store import GalleryStore, survey
from index.upkeep_command import Name, Root, in_days
from vireid import progress
from vireid.bundle import DEFAULT, SOURCE
from vireid.counted import counted
from vireid.described import SPLITS
from vireid.engines import Engine
from vireid.errors import GalleryNotFound
from vireid.image_folder import Entry
from vireid.types import Filter, ItemMeta, Modality

SHOWN_FAILURES = 20

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Build, inspect, search and look after a gallery folder.",
)


@app.command()
def info(root: Root) -> None:
    """List the galleries of a folder and verify every record of them; status 1 if one is damaged."""
    found = survey(root)
    for gallery in found:
        images = "images kept" if gallery.stores_images else "no images kept"
        typer.echo(
            f"{gallery.name}: {gallery.state}, {counted(gallery.items, 'item')} of {gallery.dim} numbers, {images}, "
            f"version {gallery.version}, space {gallery.space_id[:12] or '?'}"
        )
        if gallery.retention_s:
            typer.echo(f"  items are kept {in_days(gallery.retention_s)}")
        if gallery.centring:
            typer.echo(f"  {gallery.centring}")
        if gallery.lost:
            typer.echo(f"  {counted(gallery.lost, 'item')} missing since it was salvaged")
        if gallery.detail:
            typer.echo(f"  {gallery.detail}")
    if not found:
        typer.echo(f"{root} holds no gallery")
    raise typer.Exit(1 if any(gallery.state == "failed" for gallery in found) else 0)


@app.command("build")
def build_command(
    root: Root,
    name: Name,
    images: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Images with manifest.csv, sorted, or as a dataset.")
    ],
    bundle: BundleName = DEFAULT,
    split: Annotated[
        str | None, typer.Option(help=f"Only one of {', '.join(SPLITS)}; all but train if left out.")
    ] = None,
    store_images: Annotated[
        bool,
        typer.Option(
            "--store-images/--no-store-images", help="Keep the encoded images (a new gallery only)."
        ),
    ] = True,
    engine_name: EngineName = SOURCE,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
) -> None:
    """Enrol a folder of images; start it again after an interruption and it goes on where it was.

    Every batch is durable before the next one begins. Status 1 if an image was refused.
    """
    found = sources.read(images, split)
    engine, preprocess = open_model(bundle, device, threads, engine_name)
    with _galleries(root, engine) as store:
        try:
            gallery = store.get(name)
        except GalleryNotFound:
            gallery = store.create(name, store_images)
        with progress.bar("enrolling", total=len(found)) as advance:
            report = build(gallery, found, Embedder(engine, preprocess), advance)
        counts = ", ".join(f"{count} {word}" for word, count in sorted(report.outcomes.items()))
        typer.echo(
            f"{name}: {counts or 'nothing enrolled'}, {len(report.failures)} refused; {counted(gallery.info().items, 'item')}"
        )
    for path, why in report.failures[:SHOWN_FAILURES]:
        typer.echo(f"  {path}: {why}", err=True)
    if len(report.failures) > SHOWN_FAILURES:
        typer.echo(f"  and {len(report.failures) - SHOWN_FAILURES} more", err=True)
    raise typer.Exit(1 if report.failures else 0)


@app.command()
def search(
    root: Root,
    name: Name,
    image: Annotated[Path, typer.Option(metavar="FILE", help="A JPEG, PNG or WebP picture of one person.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Hits at most.")] = 10,
    modality: Annotated[str, typer.Option(help="auto, visible or infrared.")] = "auto",
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; repeatable.")] = None,
    found_in: Annotated[
        str, typer.Option("--find", help="Only hits of this modality: visible, infrared.")
    ] = "",
    min_score: Annotated[float | None, typer.Option(help="Leave out hits below this cosine.")] = None,
    bundle: BundleName = DEFAULT,
    device: Device = "auto",
) -> None:
    """Find the items most like a picture."""
    if not root.is_dir():
        raise GalleryNotFound(f"there is no folder {root}; name the one that was given to serve or build")
    told = None if modality == "auto" else _modality(modality)
    where = Filter(cameras=tuple(camera or ()), modalities=(_modality(found_in),) if found_in else ())
    engine, preprocess = open_model(bundle, device, threads=1)
    embedder = Embedder(engine, preprocess)
    source = Entry(image, "query", told, ItemMeta())
    query = embedder.picture(source, read_file(source))
    with _galleries(root, engine) as store:
        gallery = store.get(name)
        centres = gallery.centres
        vectors = applied(centres, embedder.embed([query]), [query.modality])
        number = centres.number if centres else 0
        found = gallery.search(vectors, top_k, where, min_score, centring=number)[0]
    typer.echo(table(query.modality, found))


def table(modality: Modality, found: Found) -> str:
    """Write an answer for people: a line about the search, then one line per hit, best first."""
    centred = f", centred by version {found.centring}" if found.centring else ""
    summary = f"{modality.word} query, {found.items_searched} of {counted(found.items_total, 'item')} compared{centred}"
    if not found.hits:
        return f"{summary}\nno hit"
    rows = [("rank", "score", "person", "camera", "modality", "item")]
    for hit in found.hits:
        item, meta = hit.item, hit.item.meta
        words = (meta.person or "-", meta.camera or "-", item.modality.word, item.item_id)
        rows.append((str(hit.rank), f"{hit.score:.4f}", *words))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([summary, *lines])


@contextlib.contextmanager
def _galleries(root: Path, engine: Engine) -> Iterator[GalleryStore]:
    store = GalleryStore(root, engine.space_id, engine.dim)
    try:
        yield store
    finally:
        store.close()


def _modality(word: str) -> Modality:
    try:
        return Modality.of(word)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


for command in (
    upkeep_command.verify,
    upkeep_command.salvage,
    upkeep_command.snapshot,
    upkeep_command.restore,
    upkeep_command.compact,
    upkeep_command.retention,
    reembed_command.reembed,
    centre_command.centre,
    recall_command.recall,
):
    app.command()(command)
app.command("export")(neutral_command.export_command)
app.command("import")(neutral_command.import_command)
app.command("compare")(neutral_command.compare_command)
