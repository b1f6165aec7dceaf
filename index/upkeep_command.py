"""``vireid index verify|salvage|snapshot|restore|compact|retention``: galleries on disk, without a server and without a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replaced
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from index import centring, limits, lost, restoration, snapshots
from index import salvage as salvaging
from index.disk import FILE, GALLERIES, LOCK, disk_errors, hold
from index.inspection import inspect
from index.kept_centres import KeptCentres
from index.records import Records
from vireid.counted import counted
from vireid.errors import GalleryNotFound

DAY_S = 86400

Root = Annotated[
    Path, typer.Argument(metavar="DIR", help="The data folder, as given to 'vireid serve --data'.")
]
Name = Annotated[str, typer.Option("--gallery", "-g", help="The gallery's name.")]


def verify(
    root: Root,
    name: Annotated[str, typer.Option("--gallery", "-g", help="Only this gallery.")] = "",
) -> None:
    """Read every record, picture and snapshot and name all that is damaged; status 1 if anything is."""
    damaged = 0
    with held(root) as galleries:
        for folder in sorted(galleries.iterdir()) if not name else [gallery_folder(galleries, name)]:
            if not folder.is_dir() or not limits.GALLERY_NAME.fullmatch(folder.name):
                continue
            found = inspect(folder)
            typer.echo(
                f"{found.name}: {'damaged' if found.damage else 'sound'}, {counted(found.items, 'item')}, "
                f"{counted(found.pictures, 'picture')} and {counted(found.snapshots, 'snapshot')} as they were written"
            )
            for sentence in found.damage:
                typer.echo(f"  {sentence}")
            damaged += bool(found.damage)
    raise typer.Exit(1 if damaged else 0)


def snapshot(
    root: Root,
    name: Name,
    keep_days: Annotated[
        int,
        typer.Option(
            "--keep-days",
            min=0,
            max=limits.LONGEST_RETENTION_DAYS,
            help="Remove it after so many days; 0 keeps it.",
        ),
    ] = 0,
) -> None:
    """Copy a gallery into a folder with a manifest; prints the folder."""
    with held(root) as galleries:
        folder = gallery_folder(galleries, name)
        records = Records(folder / FILE)
        try:
            keep = timedelta(days=keep_days) if keep_days else None
            KeptCentres(records).check()
            place = snapshots.make(records, folder / snapshots.FOLDER, keep)
        finally:
            records.close()
    typer.echo(str(place))


def restore(
    root: Root,
    source: Annotated[
        Path, typer.Argument(metavar="SNAPSHOT", help="The snapshot's folder, or its name as it is listed.")
    ],
    name: Annotated[
        str, typer.Option("--gallery", "-g", help="Under this name; left out: under its own.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the gallery of that name.")
    ] = False,
) -> None:
    """Make a gallery from a snapshot, after checking all of it."""
    with held(root, make=True) as galleries:
        place = restoration.restore(_snapshot(galleries, source), galleries, name, replace)
        records = Records(place / FILE)
        try:
            head = records.head
            typer.echo(
                f"{head.name}: {counted(head.items, 'item')} of {head.dim} numbers, version {head.version}"
            )
            if gone := sum(int((~alive).sum()) for _, _, alive in centring.shown(records)):
                typer.echo(
                    f"  {gone} of them have expired meanwhile: they are hidden, and removed by a server"
                )
            if head.retention_s:
                typer.echo(f"  items are kept {in_days(head.retention_s)}")
            if centres := KeptCentres(records).current():
                typer.echo(f"  {centres.told}")
        finally:
            records.close()


def _snapshot(galleries: Path, said: Path) -> Path:
    """Return the folder that was said, or of the one snapshot that has this name."""
    named = [place for place in galleries.glob(f"*/{snapshots.FOLDER}/*") if place.name == str(said)]
    return named[0] if len(named) == 1 and not said.exists() else said


def salvage(
    root: Root,
    name: Name,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Remove the damaged files that salvages have kept, and their lists."),
    ] = False,
) -> None:
    """Save of a damaged gallery what proves itself by its checksum, and name all that is lost; status 1 if anything is.

    The damaged file is kept beside the gallery, and answers say that items are missing, until --forget.
    """
    with held(root) as galleries:
        folder = gallery_folder(galleries, name)
        if forget:
            typer.echo(f"{name}: {lost.forget(folder)} damaged files and their lists are removed")
            return
        found = salvaging.salvage(folder)
    if found is None:
        typer.echo(f"{name}: nothing is damaged, nothing was done")
        return
    typer.echo(
        f"{name}: {counted(found.saved, 'item')} saved, {counted(found.count, 'item')} and "
        f"{counted(len(found.pictures), 'picture')} lost"
    )
    for one in found.items:
        typer.echo(f"  item {one.item_id or '(its id cannot be read)'}: {one.why}")
    if found.unnamed:
        typer.echo(f"  {counted(found.unnamed, 'item')} of which nothing can be read")
    for one in found.pictures:
        typer.echo(f"  item {one.item_id}: {one.why}")
    for doubt in found.doubts:
        typer.echo(f"  {doubt}")
    typer.echo(f"the damaged file and this list are kept in {folder / lost.FOLDER}")
    raise typer.Exit(1 if found.count or found.pictures or found.doubts else 0)


def retention(
    root: Root,
    name: Name,
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=limits.LONGEST_RETENTION_DAYS,
            help="Items expire so many days after enrolment; 0 keeps them.",
        ),
    ] = None,
) -> None:
    """Say how long a gallery keeps its items, or set it; a server removes what has expired."""
    with held(root) as galleries:
        records = Records(gallery_folder(galleries, name) / FILE)
        try:
            if days is not None:
                seconds = max(1, round(days * DAY_S)) if days else 0  # to round to 0 would keep them for ever
                head = records.head
                records.amend(replaced(head, retention_s=seconds, version=head.version + 1))
            kept = records.head.retention_s
        finally:
            records.close()
    typer.echo(f"{name}: items are kept {in_days(kept) if kept else 'until they are removed'}")


def compact(root: Root, name: Name) -> None:
    """Write a gallery's file anew, without the room that removed items left."""
    with held(root) as galleries:
        path = gallery_folder(galleries, name) / FILE
        before = path.stat().st_size if path.is_file() else 0
        records = Records(path)
        try:
            records.compact()
        finally:
            records.close()
    typer.echo(f"{name}: {before / 1e6:.1f} MB before, {path.stat().st_size / 1e6:.1f} MB now")


def in_days(seconds: int) -> str:
    """Say a time in days."""
    return f"{seconds / DAY_S:g} day{'' if seconds == DAY_S else 's'}"


@contextmanager
def held(root: Path, make: bool = False) -> Iterator[Path]:
    """Hold a data folder; yields the folder of its galleries.

    Raises:
        GalleryNotFound: there is no such folder of galleries.
        StorageError: another process holds it.
    """
    galleries = root / GALLERIES
    if make:
        with disk_errors(root, str(root)):
            galleries.mkdir(parents=True, exist_ok=True)
    if not galleries.is_dir():
        raise GalleryNotFound(f"{root} holds no galleries; name the folder that was given to serve or build")
    with disk_errors(root, str(root)):
        lock = hold(root / LOCK)
    with lock:
        yield galleries


def gallery_folder(galleries: Path, name: str) -> Path:
    """Return a gallery's folder.

    Raises:
        InvalidRequest: a malformed name.
        GalleryNotFound: no gallery of that name.
    """
    limits.check_gallery_name(name)
    if not (galleries / name).is_dir():
        raise GalleryNotFound(f"there is no gallery {name!r}", metadata={"gallery": name})
    return galleries / name
