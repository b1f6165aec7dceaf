"""``vireid upload``: put a folder or an archive of images into a gallery of a running server."""

from pathlib import Path
from typing import Annotated

import typer

from clients import upload as uploads
from clients.base import DEFAULT_TIMEOUT_S
from clients.http_client import DEFAULT_SERVER, HttpClient
from clients.options import key_of
from clients.replies import ItemFailure, Job
from vireid import image_folder, progress
from vireid.described import MANIFEST
from vireid.errors import GalleryExists, GalleryNotFound

SHOWN_FAILURES = 20

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def upload(
    source: Annotated[
        Path, typer.Argument(help="A folder of images, or a .zip or .tar archive that the server unpacks.")
    ],
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Where to; made if it is not there.")],
    server: Annotated[str, typer.Option(help="Address of the server's HTTP port.")] = DEFAULT_SERVER,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV with path,item_id,person,camera,modality,captured_at,expires_at; others are attributes."
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Images on their way at once.")] = uploads.SIDE_BY_SIDE,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds per image.")] = DEFAULT_TIMEOUT_S,
    api_key: Annotated[str, typer.Option(help="API key, if the server has one.")] = "",
    api_key_file: Annotated[Path | None, typer.Option(help="File whose first line is the API key.")] = None,
) -> None:
    """Enrol a folder of images; start it again after an interruption and it goes on where it was.

    What the server holds already, with the same image and metadata, is not sent again.
    """
    with HttpClient(server, api_key=key_of(api_key, api_key_file), timeout_s=timeout_s) as client:
        if source.is_file():
            make_gallery(client, gallery)
            job = send_archive(client, gallery, source)
            counts = ", ".join(f"{count} {word}" for word, count in job.counts.items() if count)
            typer.echo(f"{source.name}: {job.state}, {counts or 'nothing stored'}, {job.failed} refused")
            show_failures((*job.errors, *((job.error,) if job.error else ())), job.failed)
            raise typer.Exit(0 if job.state == "succeeded" else 1)
        entries = image_folder.read(source, manifest)
        if not any(entry.meta.person or entry.meta.camera for entry in entries):
            typer.echo(
                f"note: nothing tells who is on these images or which camera took them; a {MANIFEST} in the folder "
                "would ('vireid data manifest' writes one for a dataset)",
                err=True,
            )
        make_gallery(client, gallery)
        with progress.bar("uploading", total=len(entries)) as advance:
            report = uploads.upload(client, gallery, entries, side_by_side=parallel, advance=advance)
    typer.echo(
        f"{gallery}: {report.created} created, {report.replaced} replaced, {report.unchanged} unchanged, "
        f"{len(report.failures)} refused"
    )
    show_failures(report.failures, len(report.failures))
    raise typer.Exit(1 if report.failures else 0)


def make_gallery(client: HttpClient, name: str) -> None:
    """Make the gallery if it is not there."""
    try:
        client.get_gallery(name)
    except GalleryNotFound:
        try:
            client.create_gallery(name)
        except GalleryExists:  # someone else was faster
            client.get_gallery(name)


def send_archive(client: HttpClient, gallery: str, archive: Path) -> Job:
    """Send an archive and show the server's progress until it is done."""
    started = client.upload_archive(gallery, archive)
    shown = 0
    with progress.bar(f"unpacking {archive.name}") as advance:

        def watch(job: Job) -> None:
            nonlocal shown
            advance(max(0, job.done - shown))
            shown = max(shown, job.done)

        return client.wait(started.job_id, watch=watch)


def show_failures(failures: tuple[ItemFailure, ...], count: int) -> None:
    """Name the images that were refused, and why."""
    for failure in failures[:SHOWN_FAILURES]:
        typer.echo(f"  {failure.item_id}: {failure.message} [{failure.reason}]", err=True)
    if count > SHOWN_FAILURES:
        typer.echo(f"  and {count - SHOWN_FAILURES} more", err=True)
