"""Readers and protocols on trees with the published datasets' own structure: every count, every gallery's size.

A folder of n images is a link to one shared folder of n files, so that ninety thousand images cost little.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vireid.datasets import Dataset, open_dataset, published
from vireid.datasets.verify import verify
from vireid.evaluation.evaluate import evaluate, plan
from vireid.evaluation.features import Features
from vireid.evaluation.protocol import Protocol
from vireid.evaluation.protocols import preset
from vireid.types import Modality

Structure = Mapping[str, Any]
Sizes = tuple[int, int]  # query, gallery


@pytest.fixture(scope="module")
def structure(golden: Structure) -> Structure:
    found: Structure = golden["structure"]
    return found


class Shelf:
    """Folders of files that others link to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def link(self, place: Path, names: Iterable[str]) -> None:
        """Make a folder that seems to hold files of these names."""
        wanted = tuple(names)
        shared = self._root / f"{len(wanted)}_{hash(wanted) & 0xFFFFFFFF}"
        if not shared.is_dir():
            shared.mkdir(parents=True)
            for name in wanted:
                (shared / name).write_bytes(b"x")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shared, target_is_directory=True)


def shares(total: int, among: int) -> list[int]:
    """Split a number into equal parts, the first ones larger."""
    return [total // among + (i < total % among) for i in range(among)]


@pytest.fixture(scope="module")
def sysu_root(structure: Structure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "SYSU-MM01"
    shelf = Shelf(root.parent / "shelf")
    test = dict(zip(structure["sysu"]["ids"], structure["sysu"]["counts"], strict=True))
    val = list(range(334, 433))  # 99 persons, seen by cameras 3, 4 and 5 only
    train = [*(p for p in range(1, 334) if p not in test), *range(433, 492)]
    counts = {(p, c): n for p, row in test.items() for c, n in enumerate(row, start=1) if n}
    for (part, _, camera), total in published.IMAGES["sysu-mm01"].items():
        if part == "train":
            seen = train + val if camera in (3, 4, 5) else train
            counts |= {(p, camera): n for p, n in zip(seen, shares(total, len(seen)), strict=True) if n}
    for (person, camera), n in counts.items():
        shelf.link(root / f"cam{camera}/{person:04d}", [f"{i:04d}.jpg" for i in range(1, n + 1)])
    (root / "exp").mkdir()
    for name, ids in (("train", train), ("val", val), ("test", sorted(test))):
        (root / f"exp/{name}_id.txt").write_text(",".join(map(str, ids)) + "\n")
    cells = np.empty((6, 1), dtype=object)
    random = np.random.default_rng(1)
    for camera in range(1, 7):
        cells[camera - 1, 0] = np.empty((533, 1), dtype=object)
        for person in range(1, 534):
            n = test[person][camera - 1] if person in test else 0
            orders = [random.permutation(n) + 1 for _ in range(10)]
            cells[camera - 1, 0][person - 1, 0] = np.array(orders, dtype=np.uint8).reshape(10, n)
    savemat(root / "exp/rand_perm_cam.mat", {"rand_perm_cam": cells})
    return root


@pytest.fixture(scope="module")
def regdb_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "RegDB"
    shelf = Shelf(root.parent / "shelf")
    names = {
        kind: [f"male_back_{kind[0].lower()}_{i:05d}.bmp" for i in range(10)]
        for kind in ("Visible", "Thermal")
    }
    for kind, files in names.items():
        for person in range(1, 413):
            shelf.link(root / kind / str(person), files)
    (root / "idx").mkdir()
    for trial in range(1, 11):
        order = np.random.default_rng(trial).permutation(412) + 1
        for part, persons in (("train", order[:206]), ("test", order[206:])):
            for kind, files in names.items():
                lines = [f"{kind}/{p}/{f} {label}\n" for label, p in enumerate(persons) for f in files]
                (root / f"idx/{part}_{kind.lower()}_{trial}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def llcm_root(structure: Structure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "LLCM"
    shelf = Shelf(root.parent / "shelf")
    rows = {"vis": structure["llcm"]["vis"], "nir": structure["llcm"]["nir"]}
    test = sorted({person for side in rows.values() for person, _, _ in side})
    for word, side in rows.items():
        for person, camera, n in side:
            place = root / f"test_{word}/cam{camera}/{person:04d}"
            shelf.link(place, [f"{i:04d}.jpg" for i in range(1, n + 1)])
    (root / "idx").mkdir()
    (root / "idx/test_id.txt").write_text(",".join(f"{p:04d}" for p in reversed(test)))
    train = [p for p in range(2000) if p not in test][:713]
    for modality, word in ((Modality.VISIBLE, "vis"), (Modality.INFRARED, "nir")):
        seen: dict[int, list[str]] = {p: [] for p in train}
        number = 0
        for (part, m, camera), total in published.IMAGES["llcm"].items():
            if (part, m) == ("train", modality):
                for _ in range(total):
                    mine = seen[train[number % len(train)]]
                    mine.append(f"0_c{camera:02d}_s1_f{len(mine)}_{word}.jpg")
                    number += 1
        for person, files in seen.items():
            shelf.link(root / word / f"{person:04d}", files)
        lines = [
            f"{word}/{p:04d}/{f} {label}\n" for label, (p, files) in enumerate(seen.items()) for f in files
        ]
        (root / f"idx/train_{word}.txt").write_text("".join(lines))
    return root


def sizes(dataset: Dataset, protocol: Protocol) -> set[Sizes]:
    return {(len(p.query), len(p.gallery)) for p in plan(dataset, protocol)}


def valid(dataset: Dataset, protocol: Protocol) -> list[int]:
    random = np.random.default_rng(0)
    features = Features(
        random.standard_normal((len(dataset.query), 2)), random.standard_normal((len(dataset.gallery), 2))
    )
    return [t.scores.n_valid for t in evaluate(features, dataset, protocol).trials]


@pytest.mark.parametrize("name", ["sysu", "regdb", "llcm"])
def test_the_tree_counts_as_the_published_one(name: str, request: pytest.FixtureRequest) -> None:
    report = verify(request.getfixturevalue(f"{name}_root"))
    assert report.problems == ()
    assert [c for c in report.counts if not c.ok] == []
    assert all(c.expected is not None for c in report.counts)


def test_sysu_totals(sysu_root: Path) -> None:
    dataset = open_dataset("sysu-mm01", sysu_root)
    visible, infrared = (len(dataset.train.of(m)) for m in (Modality.VISIBLE, Modality.INFRARED))
    assert (visible, infrared) == (22_258, 11_909)
    assert (len(dataset.gallery), len(dataset.query)) == (6_775, 3_803)


@pytest.mark.parametrize("draw", ["python", "official"])
@pytest.mark.parametrize(
    ("mode", "shots", "gallery", "n_valid"),
    [
        ("all", 1, 301, 3_803),
        ("all", 10, 3_010, 3_803),
        ("indoor", 1, 112, 2_208),
        ("indoor", 10, 1_120, 2_208),
    ],
)
def test_sysu(mode: str, shots: int, gallery: int, n_valid: int, draw: str, sysu_root: Path) -> None:
    dataset = open_dataset("sysu-mm01", sysu_root)
    name = {"python": "sysu-mm01/agw", "official": "sysu-mm01/official"}[draw]
    protocol = preset(name, mode=mode, shots=shots)
    assert len(plan(dataset, protocol)) == 10
    assert sizes(dataset, protocol) == {(3_803, gallery)}
    assert valid(dataset, preset(name, mode=mode, shots=shots, trials=1)) == [n_valid]


@pytest.mark.parametrize("mode", ["visible-to-thermal", "thermal-to-visible"])
def test_regdb(mode: str, regdb_root: Path) -> None:
    for trial in range(1, 11):
        dataset = open_dataset("regdb", regdb_root, trial)
        assert len(dataset.train) == 4_120
        assert sizes(dataset, preset("regdb", mode=mode, trial=trial)) == {(2_060, 2_060)}
    assert valid(dataset, preset("regdb", mode=mode, trial=10)) == [2_060]


def test_llcm_totals(llcm_root: Path) -> None:
    dataset = open_dataset("llcm", llcm_root)
    train = [len(dataset.train.of(m)) for m in (Modality.VISIBLE, Modality.INFRARED)]
    assert train == [16_946, 13_975]
    assert (len(dataset.gallery), len(dataset.query)) == (8_680, 7_166)
    assert sum(train) + len(dataset.gallery) + len(dataset.query) == 46_767


@pytest.mark.parametrize(
    ("name", "size", "n_valid"),
    [
        ("llcm/ir2vis", (7_166, 484), 7_166),
        ("llcm/v1", (8_680, 619), 8_670),
        ("llcm/v2", (619, 8_680), 619),
    ],
)
def test_llcm(name: str, size: Sizes, n_valid: int, llcm_root: Path) -> None:
    dataset = open_dataset("llcm", llcm_root)
    assert sizes(dataset, preset(name)) == {size}
    assert valid(dataset, preset(name, trials=1)) == [n_valid]
