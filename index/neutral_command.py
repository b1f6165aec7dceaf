"""``vireid index export|import|compare``: galleries as files that anything reads, and what two of them differ in."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from index import manifests, neutral
from index.comparing import compare
from index.disk import FILE, GALLERIES
from index.exporting import export, stored, told
from index.importing import bring_in
from index.neutral import Entry, Manifest
from index.records import Records
from index.upkeep_command import Name, Root, gallery_folder, held, in_days
from vireid import progress
from vireid.counted import counted
from vireid.errors import InvalidRequest

SHOWN = 20

Either = Annotated[
    Path, typer.Argument(help="A gallery's folder, DATA/galleries/NAME, or the folder of an export.")
]


def export_command(
    root: Root,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    name: Name,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Put images and thumbnails along, without which nothing can be re-embedded."
        ),
    ] = False,
) -> None:
    """Write a gallery as JSON and NumPy files. They hold personal data, and no removal reaches into them."""
    with held(root) as galleries:
        if out.resolve().is_relative_to(galleries.resolve()):
            raise InvalidRequest(
                f"{out} lies among the galleries of {root}; name a folder elsewhere", field="out"
            )
        records = Records(gallery_folder(galleries, name) / FILE)
        try:
            with progress.bar("exporting", total=records.head.items) as advance:
                made = export(records, out, images, advance)
            left = records.head.items - made.items
        finally:
            records.close()
    pictures = "with their pictures" if images else "without pictures"
    typer.echo(f"{name}: {counted(made.items, 'item')} of {made.dim} numbers, {pictures}, in {out}")
    if left:
        typer.echo(f"  {counted(left, 'item')} expired: left behind")


def import_command(
    source: Annotated[Path, typer.Argument(metavar="EXPORT", help="The folder of an export.")],
    root: Root,
    name: Annotated[
        str, typer.Option("--gallery", "-g", help="Under this name; left out: under its own.")
    ] = "",
) -> None:
    """Make a gallery of an export, after checking all of it; one that is cut short leaves none."""
    total = neutral.read(source).items
    with held(root, make=True) as galleries, progress.bar("importing", total=total) as advance:
        made = bring_in(source, galleries, name, advance)
    manifest = made.manifest
    typer.echo(
        f"{made.name}: {counted(made.items, 'item')} of {manifest.dim} numbers, space {manifest.space_id[:12]}"
    )
    if made.expired:
        typer.echo(f"  {counted(made.expired, 'item')} expired meanwhile: left out")
    if manifest.retention_s:
        typer.echo(f"  items are kept {in_days(manifest.retention_s)}")
    if manifest.stores_images and not manifest.pictures:
        typer.echo("  no pictures came along: the items cannot be embedded anew")
    if manifest.centring:
        typer.echo("  the gallery exported was centred, this one is not: see 'vireid index centre'")


def compare_command(first: Either, second: Either) -> None:
    """Name the items that the second of two galleries or exports lacks, has beside, has twice or has otherwise.

    Status 1 if there are any. Embeddings are compared bit for bit; pictures are not, but for the sha256 of the file each
    was made of.
    """
    with ExitStack() as opened:
        one, other = _sides(opened, first, second)
        embeddings = one.space == other.space
        with progress.bar("comparing", total=one.items + other.items) as advance:
            found = compare(told(one.entries, advance), told(other.entries, advance), embeddings)
    counts = f"{len(found.missing)} missing, {len(found.extra)} extra, {len(found.differing)} differing"
    typer.echo(f"{counted(found.same, 'item')} the same, {counts}, {len(found.duplicates)} duplicate")
    if not embeddings:
        typer.echo("  the embedding spaces differ, so embeddings are not compared")
    named = {
        f"missing, in {first} alone": [repr(one) for one in found.missing],
        f"extra, in {second} alone": [repr(one) for one in found.extra],
        "differs": [f"{one!r} in {', '.join(names)}" for one, names in found.differing.items()],
        "more than once": [repr(one) for one in found.duplicates],
    }
    for word, items in named.items():
        for item in items[:SHOWN]:
            typer.echo(f"  {word}: {item}")
        if len(items) > SHOWN:
            typer.echo(f"  {word}: and {len(items) - SHOWN} more")
    raise typer.Exit(1 if found or not embeddings else 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of two to compare.

    Attributes:
        space: the embedding space of its vectors.
        items: how many there are at most.
        entries: those that have not expired.
    """

    space: str
    items: int
    entries: Iterator[Entry]


def _sides(opened: ExitStack, *places: Path) -> list[_Side]:
    """Open galleries and exports; nobody else may have the data folders open meanwhile."""
    roots: set[Path] = set()
    sides = []
    for place in places:
        folder = place.resolve()
        if (folder / FILE).is_file() and folder.parent.name == GALLERIES:
            root = folder.parent.parent
            if root not in roots:
                opened.enter_context(held(root))
                roots.add(root)
            records = Records(folder / FILE)
            opened.callback(records.close)
            sides.append(_Side(records.head.space_id, records.head.items, stored(records)))
            continue
        if not (folder / manifests.NAME).is_file():
            raise InvalidRequest(
                f"{place} is neither a gallery nor an export; expected DATA/galleries/NAME, or a folder with "
                f"{manifests.NAME}",
                field="place",
            )
        manifest = neutral.read(folder)
        neutral.check(folder, manifest)
        sides.append(_Side(manifest.space_id, manifest.items, _unexpired(folder, manifest)))
    return sides


def _unexpired(folder: Path, manifest: Manifest) -> Iterator[Entry]:
    now = datetime.now(UTC)
    for shard in manifest.shards:
        yield from (one for one in neutral.entries(folder, manifest, shard) if not one.expired(now))
