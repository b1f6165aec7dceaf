"""Verification: what is missing is named, published counts are demanded, drawn copies are held to the layout."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from typer.testing import CliRunner

from vireid.datasets import published, regdb
from vireid.datasets.command import app
from vireid.datasets.verify import detect, verify
from vireid.errors import DatasetError
from vireid.types import Modality

Draw = Callable[..., Path]


@pytest.mark.parametrize("name", ["sysu-mm01", "regdb", "llcm", "folder"])
def test_layouts_are_told_apart(name: str, request: pytest.FixtureRequest) -> None:
    draw: Draw = request.getfixturevalue({"sysu-mm01": "sysu"}.get(name, name) + "_tree")
    assert detect(draw()) == name


@pytest.mark.parametrize(("gone", "name"), [("cam3", "sysu-mm01"), ("exp", "sysu-mm01")])
def test_a_layout_is_known_with_a_part_missing(gone: str, name: str, sysu_tree: Draw) -> None:
    root = sysu_tree()
    shutil.rmtree(root / gone)
    assert detect(root) == name


def test_no_layout(tmp_path: Path) -> None:
    (tmp_path / "cam1").mkdir()
    with pytest.raises(DatasetError, match=r"has no known layout; expected one of: sysu-mm01: cam1, cam2"):
        detect(tmp_path)
    with pytest.raises(DatasetError, match="absent is not a folder"):
        detect(tmp_path / "absent")


def test_published_counts_add_up_to_the_papers() -> None:
    def total(name: str, part: str, modality: Modality) -> int:
        return sum(n for (p, m, _), n in published.IMAGES[name].items() if (p, m) == (part, modality))

    visible, infrared = Modality.VISIBLE, Modality.INFRARED
    assert [total("sysu-mm01", "train", m) for m in (visible, infrared)] == [22258, 11909]
    assert [total("sysu-mm01", "test", m) for m in (visible, infrared)] == [6775, 3803]
    assert [total("llcm", "train", m) for m in (visible, infrared)] == [16946, 13975]
    assert [total("llcm", "test", m) for m in (visible, infrared)] == [8680, 7166]
    assert sum(published.IMAGES["llcm"].values()) == 46767
    assert sum(published.IMAGES["regdb"].values()) == 2 * 412 * 10


def test_a_small_copy_fails_the_published_counts(sysu_tree: Draw) -> None:
    report = verify(sysu_tree())
    assert report.name == "sysu-mm01"
    assert not report.ok
    assert not report.problems
    found = {c.what: (c.found, c.expected) for c in report.counts}
    assert found["train: persons"] == (4, 395)
    assert found["test: visible images of camera 1"] == (6, 1374)
    assert all(expected is not None for _, expected in found.values())


@pytest.mark.parametrize("fixture", ["sysu_tree", "regdb_tree", "llcm_tree", "folder_tree"])
def test_a_drawn_copy_is_held_to_the_layout(fixture: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(fixture)()
    (root / "synthetic.json").write_text("{}")
    report = verify(root)
    assert report.synthetic
    assert report.ok
    assert {c.expected for c in report.counts} == {None}
    assert verify(root, synthetic=False).ok == (fixture == "folder_tree")


def test_regdb_demands_all_ten_trials_but_a_drawn_copy_may_have_fewer(regdb_tree: Draw) -> None:
    root = regdb_tree()
    for name in regdb.lists(7):
        (root / name).unlink()
    report = verify(root)
    assert len(report.problems) == 1
    assert "idx/train_visible_7.txt" in report.problems[0]
    drawn = verify(root, synthetic=True)
    assert drawn.ok
    assert {c.what.split(",")[0] for c in drawn.counts} == {f"trial {t}" for t in range(1, 11) if t != 7}
    for trial in range(1, 11):
        (root / f"idx/train_visible_{trial}.txt").unlink(missing_ok=True)
    assert "idx/train_visible_1.txt" in verify(root, synthetic=True).problems[0]


def test_empty_files_are_counted(llcm_tree: Draw) -> None:
    root = llcm_tree()
    image = next((root / "test_nir/cam5/0891").iterdir())
    image.write_bytes(b"")
    assert verify(root, synthetic=True).problems == (
        f"1 image files are empty, the first is {image}; copy them again",
    )


def orders_file(root: Path, counts: dict[tuple[int, int], int]) -> None:
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        cell = np.empty((21, 1), dtype=object)
        for person in range(1, 22):
            n = counts.get((person, camera), 0)
            cell[person - 1, 0] = np.tile(np.arange(1, n + 1, dtype=np.uint8), (10, 1))
        cameras[camera - 1, 0] = cell
    savemat(root / "exp/rand_perm_cam.mat", {"rand_perm_cam": cameras})


def test_the_official_order_is_compared_with_the_images(sysu_tree: Draw) -> None:
    root = sysu_tree()
    assert verify(root, synthetic=True).notes == (
        "exp/rand_perm_cam.mat is not there: the python draw works, the official draw does not",
    )
    counts = {(p, c): 3 for p in (6, 10) for c in range(1, 7)} | {(21, c): 3 for c in (4, 5, 6)}
    orders_file(root, counts | {(1, 1): 99})  # a training identity does not matter
    report = verify(root, synthetic=True)
    assert (report.ok, report.notes) == (True, ())
    orders_file(root, counts | {(10, 4): 5, (21, 1): 3})
    assert verify(root, synthetic=True).problems == (
        "exp/rand_perm_cam.mat does not fit 2 folders; the first is identity 0010 in camera 4: "
        "3 images, the file orders 5",
    )
    (root / "exp/rand_perm_cam.mat").write_bytes(b"")
    assert "not the official file" in verify(root, synthetic=True).problems[0]


def test_a_broken_image_folder_is_a_problem_not_a_crash(sysu_tree: Draw) -> None:
    root = sysu_tree()
    shutil.rmtree(root / "cam3")
    report = verify(root)
    assert "missing cam3/" in report.problems[0]
    assert report.counts == ()


class TestCommand:
    def test_verify_ends_with_status_one_and_names_the_fault(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        result = CliRunner().invoke(app, ["verify", str(root)])
        assert result.exit_code == 1
        assert "FAIL       4  train: persons  expected 395" in result.stdout
        assert "checks failed" in result.stderr

    def test_verify_of_a_drawn_copy(self, llcm_tree: Draw) -> None:
        result = CliRunner().invoke(app, ["verify", str(llcm_tree()), "--name", "llcm", "--synthetic"])
        assert result.exit_code == 0
        assert "(structure only, counts are reported)" in result.stdout
        assert result.stdout.splitlines()[-1] == "complete"

    def test_info(self, regdb_tree: Draw) -> None:
        result = CliRunner().invoke(app, ["info", str(regdb_tree()), "--trial", "2"])
        assert result.exit_code == 0
        assert "query          4 images: 0 visible, 4 infrared; 2 persons; cameras 2" in result.stdout

    def test_help_names_the_generator_without_importing_it(self) -> None:
        result = CliRunner().invoke(app, ["--help"])
        assert result.exit_code == 0
        for word in ("verify", "info", "synth"):
            assert word in result.stdout

    def test_neither_numba_nor_scipy_is_needed(self, sysu_tree: Draw) -> None:
        blocked = (
            "import sys; sys.modules['numba'] = None; sys.modules['scipy'] = None\n"
            "import vireid.command; sys.argv = ['vireid', 'data', 'verify', sys.argv[1], '--synthetic']\n"
            "vireid.command.main()"
        )
        run = subprocess.run(
            [sys.executable, "-c", blocked, str(sysu_tree())], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert "complete" in run.stdout


class TestRealLists:
    """Copies of the real datasets as hollow files, from the owners' lists: nothing may be found wrong."""

    @pytest.fixture
    def hollow(self, tmp_path: Path) -> Callable[[str], None]:
        full = tmp_path / "full"
        full.write_text("not empty")

        def place(name: str) -> None:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(full)

        return place

    def test_sysu(self, shared_dir: Path, tmp_path: Path, hollow: Callable[[str], None]) -> None:
        lists = shared_dir / "golden/lists/sysu_mm01"
        shutil.copytree(lists / "exp", tmp_path / "exp")
        shutil.copy(lists / "data_split/rand_perm_cam.mat", tmp_path / "exp")
        cell = loadmat(tmp_path / "exp/rand_perm_cam.mat")["rand_perm_cam"]
        known = {int(w) for w in (tmp_path / "exp/available_id.txt").read_text().split(",")}
        for camera in range(1, 7):
            rows = cell[camera - 1][0]
            for person in known:
                n = rows[person - 1][0].shape[1] if person <= len(rows) else 0
                for index in range(1, n + 1):
                    hollow(f"cam{camera}/{person:04d}/{index:04d}.jpg")
        report = verify(tmp_path)
        assert report.ok, report.problems
        assert len(report.counts) == 2 * (1 + 6)

    def test_regdb(self, shared_dir: Path, tmp_path: Path, hollow: Callable[[str], None]) -> None:
        shutil.copytree(shared_dir / "golden/lists/regdb/idx", tmp_path / "idx")
        for path in [p for part in ("train", "test") for p in (tmp_path / "idx").glob(f"{part}_*_1.txt")]:
            for line in path.read_text().splitlines():
                hollow(line.split()[0])
        report = verify(tmp_path)
        assert report.ok, report.problems
        assert len(report.counts) == 10 * 2 * (1 + 2)

    def test_llcm(self, shared_dir: Path, tmp_path: Path, hollow: Callable[[str], None]) -> None:
        shutil.copytree(shared_dir / "golden/lists/llcm/idx", tmp_path / "idx")
        for part in ("train_vis", "train_nir", "test_vis", "test_nir"):
            for line in (tmp_path / f"idx/{part}.txt").read_text().splitlines():
                name = line.split()[0]
                modality, person, file = name.split("/")
                camera = int(file.split("_")[1][1:])
                hollow(name if "train" in part else f"test_{modality}/cam{camera}/{person}/{file}")
        report = verify(tmp_path)
        assert report.ok, [*report.problems, *(c for c in report.counts if not c.ok)]
        assert len(report.counts) == 2 * (1 + 9 + 8)
