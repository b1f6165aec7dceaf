"""What the commands of a bundle's engines are asked alike: the bundle, images to learn and to prove on, where to write.

Knows no engine.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from vireid.errors import AlreadyExists, StorageError

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")]
People = Annotated[
    Path | None,
    typer.Option("--dataset", "--data", metavar="DIR", help="People to prove it on; drawn ones if left out."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The bundle with this engine; the .zip that was read if left out."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Let --out take the place of a bundle that is there.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of one call.")]
KeepFailed = Annotated[
    bool,
    typer.Option("--keep-failed", help="Keep it though it fails; it serves with --allow-unproven only."),
]

# of eight bits
Calibrate = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="Images of both modalities: a dataset, or what a gallery was filled from."
    ),
]
CalibrationWay = Annotated[
    str | None, typer.Option(help="minmax, percentile or entropy; the nearest if left out.")
]
CalibrationCount = Annotated[int, typer.Option(min=4, help="Calibration images, half of them infrared.")]


def target_of(path: Path, out: Path | None, *, replace: bool = False) -> Path:
    """Return where to write: ``out``, or over the .zip that was read.

    Args:
        path: what was read.
        out: where somebody wants it; None for where it was.
        replace: another bundle that is there may go.

    Raises:
        AlreadyExists: that is a folder, or another bundle that nobody wants replaced.
        StorageError: nothing can be written there, which is better told before the work than after it.
    """
    target = out or path
    if target.is_dir():
        raise AlreadyExists(
            f"{target} is a folder, which is not replaced; name a .zip or a new folder with --out"
        )
    if out is not None and target.exists() and not (replace or target.resolve() == path.resolve()):
        raise AlreadyExists(f"{out} exists already; name another --out, or replace it with --replace")
    place = next(each for each in target.absolute().parents if each.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise StorageError(
            f"{target} cannot be written, as {place} is no folder that lets us; name another place with --out"
        )
    return target
