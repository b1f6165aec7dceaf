"""``vireid index reembed``: go over to another bundle, and back."""

from typing import Annotated

import typer

from index import reembedding
from index.cache import Cache
from index.disk import FILE
from index.kept_centres import KeptCentres
from index.model import BundleName, Device, open_model
from index.records import Records
from index.second_space import SecondSpace
from index.upkeep_command import Name, Root, gallery_folder, held
from vireid import progress
from vireid.counted import counted

SHOWN_FAILURES = 20


def reembed(
    root: Root,
    name: Name,
    bundle: BundleName = "default",
    back: Annotated[
        bool,
        typer.Option(
            "--back", help="Only go back to the vectors that were in use before; no bundle is opened."
        ),
    ] = False,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
) -> None:
    """Embed a gallery's images with another bundle, then go over to its space in one step.

    The vectors before are kept as the second ones. Start it again after an interruption and it goes on where it was.
    Status 1, and nothing is exchanged, if an image could not be embedded.
    """
    with held(root) as galleries:
        path = gallery_folder(galleries, name) / FILE
        records = Records(path)
        try:
            second, report = SecondSpace(records), reembedding.Report()
            if not back:
                engine, preprocess = open_model(bundle, device, threads)
                Cache(path).discard()  # of parcels, which become rows
                second.begin(engine.space_id, engine.dim)
                with progress.bar("embedding", total=second.missing()) as advance:
                    report = reembedding.fill(records, engine, preprocess, advance)
            if not report.failures:
                before, centred = records.head.space_id, records.head.centres
                KeptCentres(records).check()
                Cache(path).discard()
                after = second.exchange()
                typer.echo(
                    f"{name}: {report.embedded} embedded, {counted(after.items, 'item')} of space {after.space_id[:12]}, "
                    f"before {before[:12]}"
                )
                centres = KeptCentres(records).current()
                if centred or centres:
                    now = (
                        centres.told if centres else "not centred; the centres before are of the space before"
                    )
                    typer.echo(f"{name}: {now}")
        finally:
            records.close()
    for item_id, why in report.failures[:SHOWN_FAILURES]:
        typer.echo(f"  {item_id}: {why}", err=True)
    if report.failures:
        typer.echo(
            f"{name}: {counted(len(report.failures), 'item')} could not be embedded; nothing was exchanged",
            err=True,
        )
    raise typer.Exit(1 if report.failures else 0)
