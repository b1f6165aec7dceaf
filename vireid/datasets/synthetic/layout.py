"""Drawn crops on disk, in the folders of the real datasets; complete or not there at all."""

import errno
import io
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from vireid.datasets.split import SYNTHETIC_MARKER
from vireid.datasets.synthetic.draw import Crop, crops_in, draw_crops
from vireid.datasets.synthetic.presets import preset
from vireid.errors import DatasetError, InvalidRequest, StorageError
from vireid.types import Modality

TEST_SHARE = 0.4
VAL_SHARE = 0.15
REGDB_TRIALS = 10
FEWEST_PEOPLE, MOST_PEOPLE = 4, 9999  # folders have four digits
MOST_IMAGES = 9999

Writer = Callable[[Path, Iterable[Crop], Sequence[int], int], None]


def draw_dataset(  # noqa: PLR0913 - what is drawn, in full
    root: Path,
    name: str,
    people: int,
    images_per_camera: int | None = None,
    *,
    seed: int = 0,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Path:
    """Draw a dataset into a folder that does not exist yet or is empty.

    Args:
        root: where; an empty folder is replaced.
        name: of the preset.
        people: how many, 4 to 9999; two fifths become test identities (RegDB: half).
        images_per_camera: of each person in each camera; None for the preset's own number.
        seed: everything follows from it.
        workers: processes; the bytes do not depend on it.
        advance: told how many crops were just written.

    Returns:
        ``root``.

    Raises:
        InvalidRequest: an unknown preset or a number out of range.
        DatasetError: the folder holds something already or cannot be replaced.
        StorageError: the disk is full or refuses.
    """
    chosen = preset(name)
    images = chosen.images if images_per_camera is None else images_per_camera
    if not FEWEST_PEOPLE <= people <= MOST_PEOPLE:
        raise InvalidRequest(
            f"{people} people; expected {FEWEST_PEOPLE} or more, to train on some and test on others, "
            f"and at most {MOST_PEOPLE}",
            field="people",
        )
    if images > MOST_IMAGES:
        raise InvalidRequest(
            f"{images} images a camera; expected at most {MOST_IMAGES}", field="images a camera"
        )
    drawn = draw_crops(name, people, images, seed=seed, workers=workers)
    _demand_replaceable(root)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        # drawn aside and renamed: an interrupted run leaves nothing that looks like a dataset
        part = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
        try:
            with closing(drawn):
                WRITERS[chosen.layout](part, _counted(drawn, advance), range(1, people + 1), seed)
            marker = {
                "preset": name,
                "people": people,
                "images_per_camera": images,
                "crops": crops_in(chosen, people, images),
                "seed": seed,
            }
            (part / SYNTHETIC_MARKER).write_text(json.dumps(marker, indent=2) + "\n")
            part.chmod(0o755)
            if root.exists():
                root.rmdir()
            part.rename(root)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{root} could not be written ({error.strerror or error}); nothing was kept: "
            "name a folder that may be made, on a disk with room",
            reason="DISK_FULL" if error.errno == errno.ENOSPC else "DATA_FOLDER_UNUSABLE",
        ) from error
    return root


def _demand_replaceable(root: Path) -> None:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DatasetError(f"{root} holds something already; name a new or empty folder")
    if root.is_dir() and (root.is_mount() or root.resolve() == Path.cwd()):
        raise DatasetError(
            f"{root} is a mount point or the current folder, which cannot be replaced; name a new folder in it"
        )


def _counted(crops: Iterable[Crop], advance: Callable[[int], None] | None) -> Iterable[Crop]:
    for crop in crops:
        yield crop
        if advance is not None:
            advance(1)


def _halves(people: Sequence[int], random: np.random.Generator, share: float) -> tuple[list[int], list[int]]:
    """Split people at random; both parts ascending and neither empty."""
    order = random.permutation(len(people))
    cut = min(len(people) - 1, max(1, round(len(people) * share)))
    test = sorted(people[place] for place in order[:cut])
    return sorted(people[place] for place in order[cut:]), test


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _sysu(root: Path, crops: Iterable[Crop], people: Sequence[int], seed: int) -> None:
    for crop in crops:
        _write(root / f"cam{crop.camera}" / f"{crop.person:04d}" / f"{crop.shot:04d}.jpg", crop.jpeg)
    learn, test = _halves(people, np.random.default_rng([seed, 4]), TEST_SHARE)
    train, val = _halves(learn, np.random.default_rng([seed, 5]), VAL_SHARE)
    for part, numbers in (("train", train), ("val", val), ("test", test), ("available", sorted(people))):
        _write(root / "exp" / f"{part}_id.txt", (",".join(map(str, numbers)) + "\n").encode())


def _llcm(root: Path, crops: Iterable[Crop], people: Sequence[int], seed: int) -> None:
    learn, test = _halves(people, np.random.default_rng([seed, 4]), TEST_SHARE)
    label = {person: number for number, person in enumerate(learn)}
    lists: Mapping[str, list[str]] = defaultdict(list)
    for crop in crops:
        word = "vis" if crop.modality is Modality.VISIBLE else "nir"
        file = f"{crop.person:04d}_c{crop.camera:02d}_s{crop.shot:06d}_f{crop.shot:05d}_{word}.jpg"
        if crop.person in label:
            place = f"{word}/{crop.person:04d}/{file}"
            lists[word].append(f"{place} {label[crop.person]}\n")
        else:
            place = f"test_{word}/cam{crop.camera}/{crop.person:04d}/{file}"
        _write(root / place, crop.jpeg)
    for word, lines in lists.items():
        _write(root / "idx" / f"train_{word}.txt", "".join(lines).encode())
    _write(root / "idx" / "test_id.txt", (",".join(f"{person:04d}" for person in test) + "\n").encode())


def _regdb(root: Path, crops: Iterable[Crop], people: Sequence[int], seed: int) -> None:
    places: Mapping[tuple[int, Modality], list[str]] = defaultdict(list)
    for crop in crops:
        folder, letter = ("Visible", "v") if crop.modality is Modality.VISIBLE else ("Thermal", "t")
        place = f"{folder}/{crop.person}/person_front_{letter}_{crop.shot:05d}_{crop.person}.bmp"
        bitmap = io.BytesIO()
        Image.fromarray(crop.rgb).save(bitmap, "BMP")
        _write(root / place, bitmap.getvalue())
        places[crop.person, crop.modality].append(place)
    for trial in range(1, REGDB_TRIALS + 1):
        halves = _halves(people, np.random.default_rng([seed, 6, trial]), 0.5)
        for part, numbers in zip(("train", "test"), halves, strict=True):
            for kind, modality in (("visible", Modality.VISIBLE), ("thermal", Modality.INFRARED)):
                lines = [
                    f"{place} {label}\n"
                    for label, person in enumerate(numbers)
                    for place in places[person, modality]
                ]
                _write(root / "idx" / f"{part}_{kind}_{trial}.txt", "".join(lines).encode())


WRITERS: Mapping[str, Writer] = {"sysu-mm01": _sysu, "llcm": _llcm, "regdb": _regdb}
