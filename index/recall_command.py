"""``vireid index recall``: what each backend finds in a gallery, and how fast; without a server and without a model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from index import recall as recalls
from index.backends import APPROXIMATE, BACKENDS, DEFAULT, NEEDS_GPU
from index.disk import FILE, disk_errors
from index.kept_centres import KeptCentres
from index.records import Records
from index.upkeep_command import Name, Root, gallery_folder, held
from vireid.errors import InvalidRequest

USUAL = (DEFAULT, "faiss", *sorted(APPROXIMATE - NEEDS_GPU))


def recall(
    root: Root,
    name: Name,
    backend: Annotated[
        list[str] | None, typer.Option(help=f"Only this one of {', '.join(BACKENDS)}; repeatable.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="How many of its items ask.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw them here, as .svg or .png.")] = None,
) -> None:
    """Compare backends with exact search on a gallery's own vectors: recall and latency."""
    chosen = tuple(dict.fromkeys(backend or USUAL))
    for one in chosen:
        if one not in BACKENDS:
            raise InvalidRequest(
                f"found backend {one!r}; expected one of {', '.join(BACKENDS)}", field="backend"
            )
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise InvalidRequest(f"found {picture.name}; a picture is an .svg or a .png file", field="picture")
    for path, field in ((json_file, "json"), (picture, "picture")):
        if path is not None and not path.parent.is_dir():  # said before hours of measuring rather than after
            raise InvalidRequest(
                f"there is no folder {path.parent} to write {path.name} into; make it", field=field
            )
    with held(root) as galleries:
        records = Records(gallery_folder(galleries, name) / FILE)
        try:
            dim, centres = records.head.dim, KeptCentres(records).current()
            searched = (
                rows if centres is None else centres.applied(rows, table.modality)
                for table, rows in records.chunks()
            )
            vectors = np.concatenate([np.empty((0, dim), np.float32), *searched])
        finally:
            records.close()
    typer.echo(f"{name}: {len(vectors)} items of {dim} numbers, {min(queries, len(vectors))} of them ask")
    makers = {one: BACKENDS[one] for one in dict.fromkeys((recalls.REFERENCE, *chosen))}
    found = [one for one in recalls.measure(makers, vectors, queries) if one.name in chosen]
    for line in recalls.table(found):
        typer.echo(line)
    if json_file is not None:
        asked = min(queries, len(vectors))
        document = {
            "items": len(vectors),
            "dim": dim,
            "queries": asked,
            "backends": [asdict(one) for one in found],
        }
        with disk_errors(json_file):
            json_file.write_text(json.dumps(document, indent=2) + "\n")
    if picture is not None:
        with disk_errors(picture):
            _draw(picture, found, f"{name}: {len(vectors):,} items")


def _draw(path: Path, found: list[recalls.Measured], title: str) -> None:
    from index import recall_picture
    from vireid.evaluation.pictures import style

    levels = sorted(found[0].recall)
    made = recall_picture.recall(found, 10 if 10 in levels else levels[-1], title)
    if path.suffix == ".svg":
        path.write_text(style.svg(made))
    else:
        path.write_bytes(style.png(made))
