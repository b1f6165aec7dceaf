"""``vireid evaluate extract``: a dataset's test images through a bundle, kept as files of features."""

from pathlib import Path
from typing import Annotated

import typer

from vireid.datasets import READERS, open_dataset
from vireid.datasets.verify import detect
from vireid.evaluation import npz
from vireid.evaluation.extract import embed
from vireid.evaluation.model import open_model


def run(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The dataset's root folder.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the .npz files go.")],
    name: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(READERS)}; found by the layout if left out.")
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A bundle; the packaged one if left out; 'fake' for a stand-in."),
    ] = None,
    trial: Annotated[int, typer.Option(help="RegDB: the identity split, 1 to 10.")] = 1,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each feature with that of the mirrored image.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images embedded at once.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one embedding call.")] = 1,
) -> None:
    """Write visible.npz and infrared.npz: features, persons, cameras, modalities and paths of the test images."""
    dataset = open_dataset(name or detect(data), data, trial)
    model = open_model(bundle, device, threads)
    names = npz.file_names(dataset)
    for file, split in dict(zip(names, (dataset.query, dataset.gallery), strict=True)).items():
        vectors = embed(model.engine, model.preprocess, split, batch, flip)
        about = {
            "flip": "average" if flip else "none",
            "space_id": model.engine.space_id,
            "bundle_sha256": model.sha256,
            "synthetic": dataset.synthetic,
        }
        npz.write(out / file, npz.of_split(split, dataset.root, vectors, about))
        typer.echo(f"{out / file}: {len(split)} images, {vectors.shape[1]} dimensions")
