"""``vireid index centre``: take each modality's own mean off a gallery's vectors, or measure what that would bring."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from index import centring, sources
from index.build import AT_ONCE, Embedder, Picture, read_file
from index.cache import Cache
from index.centres import Centres, Means
from index.centring import Gap, Sample
from index.disk import FILE
from index.head import Head
from index.kept_centres import KeptCentres
from index.model import BundleName, Device, open_model
from index.records import Records
from index.upkeep_command import Name, Root, gallery_folder, held
from vireid import progress
from vireid.arrays import Float32Array, Int64Array
from vireid.bundle import DEFAULT
from vireid.errors import GalleryMismatch, InvalidRequest, VireidError
from vireid.types import Modality

SHOWN_FAILURES = 20
NO_ACCURACY = (
    "  no accuracy: modalities that lie closer together need not tell people apart any better. Label some items of both "
    "modalities and ask again"
)


def centre(
    root: Root,
    name: Name,
    strength: Annotated[float, typer.Option(help="How much of each mean is taken off, above 0 to 1.")] = 1.0,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Only measure what it would bring; nothing is changed.")
    ] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Only go back to what was before the last centring.")
    ] = False,
    query_images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Images to learn from too, as queries look; none is enrolled."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Leave a modality as it came that has too few vectors.")
    ] = False,
    bundle: BundleName = DEFAULT,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
) -> None:
    """Search a gallery without what is common to all its visible, and to all its infrared vectors.

    Needs no labels. First ask with --evaluate, then without. The stored vectors stay as they came, so --back is exact.
    Scores change their meaning and have no calibrated probability. Status 1 if a query image was refused.
    """
    if back and (evaluate or query_images or half):
        raise InvalidRequest("--back learns and measures nothing; give it alone", field="back")
    failures: list[tuple[str, str]] = []
    with held(root) as galleries:
        path = gallery_folder(galleries, name) / FILE
        records = Records(path)
        try:
            kept = KeptCentres(records)
            if back:
                Cache(path).discard()
                kept.back()
                now = kept.current()
                typer.echo(f"{name}: {now.told if now else 'not centred'}, version {records.head.version}")
                return
            asking = _embedded(query_images, records.head, bundle, device, threads, failures)
            means = centring.learn(records)
            means.take_in(asking[0], asking[1])
            new = means.centres(strength, half)
            if evaluate:
                _report(name, centring.sample(records, *asking), means, kept.current(), new)
            else:
                new = kept.numbered(new)
                Cache(path).discard()
                kept.put(new)
                typer.echo(f"{name}: {new.told}")
        finally:
            records.close()
    for image, why in failures[:SHOWN_FAILURES]:
        typer.echo(f"  {image}: {why}", err=True)
    if len(failures) > SHOWN_FAILURES:
        typer.echo(f"  and {len(failures) - SHOWN_FAILURES} more", err=True)
    raise typer.Exit(1 if failures else 0)


def _report(name: str, of: Sample, means: Means, before: Centres | None, after: Centres) -> None:
    """Say what centres would bring."""
    typer.echo(f"{name}: before: {before.told if before else 'as embedded'}")
    typer.echo(f"{name}: after: {after.told}")
    labelled = False
    for found in centring.crossings(of, means, before, after):
        labelled = True
        other = Modality(1 - int(found.asks))
        typer.echo(
            f"  {found.asks.word} finds {other.word}: mAP {_change(found.before.mean_ap, found.after.mean_ap)}, "
            f"Rank-1 {_change(found.before.rank(1), found.after.rank(1))} "
            f"({found.after.n_valid} queries, each left out of its mean)"
        )
    one, two = centring.gap(of, before), centring.gap(of, after)
    typer.echo(f"  without labels: {_gap(one, two)}")
    if not labelled:
        typer.echo(NO_ACCURACY)
    typer.echo("nothing was changed; the same without --evaluate centres the gallery")


def _change(before: float, after: float) -> str:
    return f"{before:.3f} -> {after:.3f}"


def _gap(one: Gap, two: Gap) -> str:
    told = [
        f"mean cosine within visible {_change(one.within[0], two.within[0])}",
        f"within infrared {_change(one.within[1], two.within[1])}",
        f"across {_change(one.across, two.across)}",
    ]
    if not np.isnan(one.mixed):
        told.append(
            f"of the ten nearest {100 * one.mixed:.1f} % -> {100 * two.mixed:.1f} % are of the other modality "
            f"({100 * one.chance:.1f} % by chance)"
        )
    return ", ".join(told)


def _embedded(
    folder: Path | None,
    head: Head,
    bundle: str,
    device: str,
    threads: int,
    failures: list[tuple[str, str]],
) -> tuple[Float32Array, Int64Array, list[str]]:
    """Embed a folder of images: unit rows, modalities and persons; none without a folder."""
    rows: list[Float32Array] = [np.empty((0, head.dim), np.float32)]
    kinds: list[int] = []
    persons: list[str] = []
    if folder is not None:
        found = sources.read(folder)
        engine, preprocess = open_model(bundle, device, threads)
        if (engine.space_id, engine.dim) != (head.space_id, head.dim):
            raise GalleryMismatch(
                f"gallery {head.name!r} holds embeddings of space {head.space_id[:12]}..., the bundle makes "
                f"{engine.space_id[:12]}...; give the bundle that the gallery was made with",
                metadata={"gallery": head.name, "found": engine.space_id, "expected": head.space_id},
            )
        embedder, batch = Embedder(engine, preprocess), list[Picture]()
        with progress.bar("embedding", total=len(found)) as advance:
            for at, source in enumerate(found, start=1):
                try:
                    batch.append(embedder.picture(source, read_file(source)))
                except VireidError as error:
                    failures.append((str(source.path), f"{error.message} [{error.stable_reason}]"))
                if batch and (len(batch) == AT_ONCE or at == len(found)):
                    rows.append(embedder.embed(batch))
                    kinds += [int(one.modality) for one in batch]
                    persons += [one.source.meta.person for one in batch]
                    batch = []
                advance(1)
    return np.concatenate(rows), np.array(kinds, np.int64), persons
