"""Features in .npz files: written from a dataset, read back as a test set of their own.

    features (N, D)  person (N,)  camera (N,)              demanded
    modality (N,)                                          0 or visible, 1 or infrared
    path (N,)                                              rows are put in the order of their sorted paths
    flip, space_id, bundle_sha256, synthetic               single values, told in the report

Draws depend on the order of images within a person and camera, so files without ``path`` must hold that order
already. Knows no protocol's draws and no scores.
"""

import io
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np

from vireid.arrays import Float32Array, Float64Array, Int64Array
from vireid.datasets.split import Dataset, Split
from vireid.errors import EvaluationError
from vireid.evaluation.protocol import Flip
from vireid.types import Modality, Sample

DEMANDED = ("features", "person", "camera")
_EXPECTED = (
    "expected arrays features (N, D), person (N,), camera (N,), and where known modality (N,), path (N,)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """One file of features and whose images they are.

    Attributes:
        vectors: one row per image, (N, D).
        person: identity numbers, (N,).
        camera: camera numbers, (N,).
        modality: 0 visible, 1 infrared, (N,); None where the file does not say.
        path: relative paths of the images; empty where the file does not say.
        flip: whether the features are averaged with those of mirrored images; ``given`` if not said.
        space_id: the embedding space, empty if not said.
        bundle_sha256: of the bundle that made them, empty if not said.
        synthetic: whether the generator drew the images.
    """

    vectors: Float32Array | Float64Array
    person: Int64Array
    camera: Int64Array
    modality: Int64Array | None = None
    path: tuple[str, ...] = ()
    flip: Flip = "given"
    space_id: str = ""
    bundle_sha256: str = ""
    synthetic: bool = False

    def split(self, name: str, otherwise: Modality | None) -> Split:
        """Return the images as a split; ``otherwise`` is their modality where the file does not say."""
        if self.modality is None and otherwise is None:
            otherwise = Modality.VISIBLE  # nobody asks: the protocol takes any
        modality = self.modality.tolist() if self.modality is not None else [otherwise] * len(self.person)
        paths = self.path or tuple(f"row {row}" for row in range(len(self.person)))
        rows = zip(paths, self.person.tolist(), self.camera.tolist(), modality, strict=True)
        return Split(name, tuple(Sample(Path(p), person, c, Modality(m)) for p, person, c, m in rows))


def read(path: Path) -> Listed:
    """Read a file of features.

    Raises:
        EvaluationError: it is missing or no .npz file, an array is missing or of another form, or a path is
            there twice.
    """
    found = _arrays(path)
    missing = [name for name in DEMANDED if name not in found]
    if missing:
        raise EvaluationError(
            f"{path} has no {', '.join(missing)}; it has {', '.join(sorted(found)) or 'nothing'}; {_EXPECTED}"
        )
    vectors = found["features"]
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or 0 in vectors.shape:
        raise EvaluationError(
            f"{path}: features are {vectors.dtype} {vectors.shape}; expected numbers (N, D), N and D at least 1"
        )
    n = len(vectors)
    names = tuple(str(p) for p in _column(path, found, "path", n, "US")) if "path" in found else ()
    flip = str(_single(path, found, "flip", "given"))
    if flip not in get_args(Flip):
        raise EvaluationError(f"{path}: flip is one of {', '.join(get_args(Flip))}, not {flip!r}")
    listed = Listed(
        vectors=vectors if vectors.dtype == np.float32 else vectors.astype(np.float64),
        person=_column(path, found, "person", n, "iu").astype(np.int64),
        camera=_column(path, found, "camera", n, "iu").astype(np.int64),
        modality=_modality(path, found, n),
        path=names,
        flip=flip,  # type: ignore[arg-type]  # checked above
        space_id=str(_single(path, found, "space_id", "")),
        bundle_sha256=str(_single(path, found, "bundle_sha256", "")),
        synthetic=bool(_single(path, found, "synthetic", False)),
    )
    return _sorted(path, listed) if names else listed


def write(path: Path, listed: Listed) -> None:
    """Write a file of features; the same content gives the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    arrays: dict[str, Any] = {"features": listed.vectors, "person": listed.person, "camera": listed.camera}
    if listed.modality is not None:
        arrays["modality"] = listed.modality
    if listed.path:
        arrays["path"] = np.array(listed.path)
    for name in ("flip", "space_id", "bundle_sha256", "synthetic"):
        arrays[name] = np.array(getattr(listed, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            # a fixed date: numpy's own writer stamps the time
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())


def of_split(
    split: Split, root: Path, vectors: Float32Array | Float64Array, about: Mapping[str, Any]
) -> Listed:
    """Return a dataset's split with its features, ready to be written.

    Args:
        split: whose images they are.
        root: the dataset's folder, that paths are relative to.
        vectors: in the split's order, (N, D).
        about: ``flip``, ``space_id``, ``bundle_sha256``, ``synthetic``.
    """
    paths = tuple(s.path.relative_to(root).as_posix() for s in split.samples)
    return Listed(vectors, split.persons, split.cameras, split.modalities, paths, **about)


def file_names(dataset: Dataset) -> tuple[str, str]:
    """Return what a dataset's query and gallery features are called: by modality where each side has one.

    A folder of one modality, whose images all ask and are all found, has one file.
    """
    modality = [{s.modality for s in split.samples} for split in (dataset.query, dataset.gallery)]
    alike = dataset.query.samples == dataset.gallery.samples
    if all(len(m) == 1 for m in modality) and (alike or modality[0] != modality[1]):
        query, gallery = (next(iter(m)).word for m in modality)
        return f"{query}.npz", f"{gallery}.npz"
    return "query.npz", "gallery.npz"


def in_order(path: Path, listed: Listed, split: Split, root: Path) -> Float32Array | Float64Array:
    """Return features in the order of a dataset's split.

    Args:
        path: the file they were read from, for messages.
        listed: what it holds.
        split: the images they must be of.
        root: the dataset's folder.

    Raises:
        EvaluationError: they are of other images, persons or cameras.
    """
    wanted = [s.path.relative_to(root).as_posix() for s in split.samples]
    if listed.path:
        row = {name: place for place, name in enumerate(listed.path)}
        absent = [name for name in wanted if name not in row]
        if absent or len(row) != len(wanted):
            raise EvaluationError(
                f"{path} holds {len(row)} images and {split.name} has {len(wanted)}, {len(absent)} of them without "
                f"features{': the first is ' + absent[0] if absent else ''}; extract them again from this dataset"
            )
        rows = np.array([row[name] for name in wanted], dtype=np.int64)
    elif len(listed.person) != len(wanted):
        raise EvaluationError(
            f"{path} holds {len(listed.person)} rows without paths; {split.name} has {len(wanted)} images: "
            f"extract them again from this dataset"
        )
    else:
        rows = np.arange(len(wanted))
    for what, ours, theirs in (
        ("person", listed.person[rows], split.persons),
        ("camera", listed.camera[rows], split.cameras),
    ):
        wrong = np.flatnonzero(ours != theirs)
        if len(wrong):
            first = int(wrong[0])
            raise EvaluationError(
                f"{path} names {what} {ours[first]} for {wanted[first]}, the dataset {theirs[first]} "
                f"({len(wrong)} differ); extract them again from this dataset"
            )
    return listed.vectors[rows]


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise EvaluationError(f"{path} is a single array and no .npz file; {_EXPECTED}")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise EvaluationError(
            f"{path} is missing; write it with: vireid evaluate extract --data DIR --out FOLDER"
        ) from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"{path} cannot be read as an .npz file: {error}; {_EXPECTED}") from error


def _single(path: Path, found: Mapping[str, Any], name: str, otherwise: str | bool) -> Any:
    if name not in found:
        return otherwise
    if found[name].size != 1:
        raise EvaluationError(f"{path}: {name} is {found[name].shape}; expected a single value")
    return found[name].item()


def _column(path: Path, found: Mapping[str, Any], name: str, n: int, kinds: str) -> Any:
    column = found[name]
    if column.shape != (n,):
        raise EvaluationError(f"{path}: {name} is {column.shape}; {n} rows of features need ({n},)")
    if column.dtype.kind not in kinds:
        words = "text" if "U" in kinds else "whole numbers"
        raise EvaluationError(f"{path}: {name} holds {column.dtype}; expected {words}")
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8")
    return column


def _modality(path: Path, found: Mapping[str, Any], n: int) -> Int64Array | None:
    if "modality" not in found:
        return None
    column = _column(path, found, "modality", n, "iuUS")
    try:
        of = (
            Modality.of
            if column.dtype.kind == "U"
            else lambda value: Modality(value)  # the arrays' two ways of saying it
        )
        return np.array([int(of(value)) for value in column.tolist()], dtype=np.int64)
    except ValueError as error:
        raise EvaluationError(
            f"{path}: {error}; modality is 0 or visible, 1 or infrared, one for each row"
        ) from None


def _sorted(path: Path, listed: Listed) -> Listed:
    names = [PurePosixPath(p).as_posix() for p in listed.path]
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    ordered = tuple(names[row] for row in order)
    for a, b in itertools.pairwise(ordered):
        if a == b:
            raise EvaluationError(f"{path}: the path {a} is there twice; every image once")
    return Listed(
        vectors=listed.vectors[order],
        person=listed.person[order],
        camera=listed.camera[order],
        modality=None if listed.modality is None else listed.modality[order],
        path=ordered,
        flip=listed.flip,
        space_id=listed.space_id,
        bundle_sha256=listed.bundle_sha256,
        synthetic=listed.synthetic,
    )
