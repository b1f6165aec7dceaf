"""Dataset trees of tiny pictures in the exact published layouts, drawn where a test wants them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SYSU_TRAIN, SYSU_VAL, SYSU_TEST = (1, 2, 3), (334,), (6, 10, 21)
# identity -> cameras that saw it; 21 was never in the rooms of cameras 1 to 3
SYSU_CAMERAS: Mapping[int, tuple[int, ...]] = {
    1: (1, 2, 3, 4, 5, 6),
    2: (1, 2, 3, 6),
    3: (4, 5, 6),
    334: (3, 4, 5),
    6: (1, 2, 3, 4, 5, 6),
    10: (1, 2, 3, 4, 5, 6),
    21: (4, 5, 6),
}
SYSU_IMAGES = 3  # in each (identity, camera) folder


def paint(path: Path, person: int, index: int) -> None:
    """Write a small picture whose pattern is the person's and whose noise is the index's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng(person).integers(0, 255, (16, 8, 1))
    noise = np.random.default_rng([person, index]).integers(-40, 40, (16, 8, 3))
    pixels = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).resize((16, 32)).save(path, quality=95)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def commas(ids: Iterable[int]) -> str:
    return ",".join(map(str, ids)) + "\n"


@pytest.fixture
def sysu_tree(tmp_path: Path) -> Callable[[str], Path]:
    """SYSU-MM01 with seven identities."""

    def draw(name: str = "SYSU-MM01") -> Path:
        root = tmp_path / name
        for person, cameras in SYSU_CAMERAS.items():
            for camera in cameras:
                for index in range(1, SYSU_IMAGES + 1):
                    place = root / f"cam{camera}" / f"{person:04d}" / f"{index:04d}.jpg"
                    paint(place, person, 10 * camera + index)
        write(root / "exp/train_id.txt", commas(SYSU_TRAIN))
        write(root / "exp/val_id.txt", commas(SYSU_VAL))
        write(root / "exp/test_id.txt", commas(SYSU_TEST))
        return root

    return draw


@pytest.fixture
def regdb_tree(tmp_path: Path) -> Callable[[], Path]:
    """RegDB with four identities, two images each in each modality, and all ten trials."""

    def draw() -> Path:
        root = tmp_path / "RegDB"
        lines: dict[tuple[str, int], list[str]] = {}
        for person in (1, 2, 30, 412):
            for kind, letter in (("Visible", "v"), ("Thermal", "t")):
                for index in (1, 2):
                    name = f"{kind}/{person}/male_back_{letter}_{index:05d}_{person}.bmp"
                    paint(root / name, person, index)
                    lines.setdefault((kind.lower(), person), []).append(name)
        for trial in range(1, 11):
            train, test = ((2, 30), (412, 1)) if trial % 2 else ((412, 1), (2, 30))
            for part, persons in (("train", train), ("test", test)):
                for kind in ("visible", "thermal"):
                    text = "".join(
                        f"{name} {label}\r\n"
                        for label, person in enumerate(persons)
                        for name in lines[kind, person]
                    )
                    write(root / f"idx/{part}_{kind}_{trial}.txt", text)
        return root

    return draw


@pytest.fixture
def llcm_tree(tmp_path: Path) -> Callable[[str], Path]:
    """LLCM with two training and two test identities."""

    def draw(name: str = "LLCM") -> Path:
        root = tmp_path / name
        for modality, cameras in (("vis", range(1, 10)), ("nir", (1, 2, 4, 5, 6, 7, 8, 9))):
            listed = []
            for label, person in enumerate((250, 3)):
                for index in (1, 2):
                    place = f"{modality}/{person:04d}/{person:04d}_c0{4 + index}_s1_f{index}_{modality}.jpg"
                    paint(root / place, person, index)
                    listed.append(f"{place} {label}\n")
            write(root / f"idx/train_{modality}.txt", "".join(listed))
            for camera in cameras:
                (root / f"test_{modality}/cam{camera}").mkdir(parents=True)
            for person, seen in ((891, (5, 6)), (15, (5, 9))):
                for camera in seen:
                    for index in (1, 2):
                        name_ = f"{person:04d}_c0{camera}_s1_f{index}_{modality}.jpg"
                        place = f"test_{modality}/cam{camera}/{person:04d}/{name_}"
                        paint(root / place, person, 10 * camera + index)
        write(root / "idx/test_id.txt", "0891,0015")
        return root

    return draw


@pytest.fixture
def folder_tree(tmp_path: Path) -> Callable[[], Path]:
    """A labelled folder of three persons by day and by night."""

    def draw() -> Path:
        root = tmp_path / "crops"
        for number, person in enumerate(("ada", "bob", "cyd")):
            for index, camera in enumerate(("gate", "hall")):
                paint(root / f"visible/{person}/{camera}_{index}.png", number, index)
            paint(root / f"infrared/{person}/yard_7.png", number, 7)
        return root

    return draw
