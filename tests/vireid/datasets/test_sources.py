"""Market-1501 and MSMT17: labelled visible sets, read and counted, and every way their trees are usually broken."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vireid.datasets import READERS, SOURCES, market1501, msmt17, open_dataset, published
from vireid.datasets.command import app
from vireid.datasets.verify import detect, verify
from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation.protocols import choose
from vireid.types import Modality

TRAIN = ("0002_c1s1_000451_03.jpg", "0002_c6s4_014201_01.jpg", "0007_c3s3_077419_03.jpg")
QUERY = ("0001_c1s1_001051_00.jpg", "1501_c6s4_001902_00.jpg")
GALLERY = (
    "-1_c1s1_000401_03.jpg",
    "0000_c4s2_000801_02.jpg",
    "0001_c2s1_000301_00.jpg",
    "1501_c3s3_064744_05.jpg",
)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a picture")


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "Market-1501-v15.09.15"
    for folder, names in (("bounding_box_train", TRAIN), ("query", QUERY), ("bounding_box_test", GALLERY)):
        for name in names:
            touch(root / folder / name)
        (root / folder / "Thumbs.db").write_bytes(b"x")
    return root


@pytest.fixture
def msmt(tmp_path: Path) -> Callable[..., Path]:
    def draw(train: str = "train", test: str = "test") -> Path:
        root = tmp_path / f"MSMT17 {train}"
        lists = {
            "list_train.txt": (train, [(0, 0, 1), (0, 1, 4), (1, 0, 15)]),
            "list_val.txt": (train, [(0, 2, 2), (1, 3, 7)]),
            "list_query.txt": (test, [(0, 0, 3)]),
            "list_gallery.txt": (test, [(0, 1, 5), (2, 0, 6)]),
        }
        for name, (folder, images) in lists.items():
            lines = []
            for person, image, camera in images:
                place = f"{person:04d}/{person:04d}_{image:03d}_{camera:02d}_0303morning_0008_{image}.jpg"
                touch(root / folder / place)
                lines.append(f"{place} {person}\n")
            (root / name).write_text("".join(lines))
        return root

    return draw


def test_sources_stand_beside_what_has_a_protocol() -> None:
    assert set(SOURCES) == {"market1501", "msmt17"}
    assert not set(SOURCES) & set(READERS)
    with pytest.raises(
        EvaluationError, match="dataset is one of sysu-mm01, regdb, llcm, folder, not 'msmt17'"
    ):
        choose("msmt17")


@pytest.mark.parametrize("name", SOURCES)
def test_a_root_that_is_no_folder_and_a_trial(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent is not a folder"):
        open_dataset(name, tmp_path / "absent")
    with pytest.raises(DatasetError, match=f"{name} has one identity split, so no trial 3"):
        open_dataset(name, tmp_path, trial=3)


class TestMarket:
    def test_persons_and_cameras_come_from_names(self, market: Path) -> None:
        dataset = open_dataset("market1501", market)
        assert [(s.person, s.camera) for s in dataset.train.samples] == [(2, 1), (2, 6), (7, 3)]
        assert [(s.person, s.camera) for s in dataset.query.samples] == [(1, 1), (1501, 6)]
        assert {s.modality for s in dataset.train.samples + dataset.gallery.samples} == {Modality.VISIBLE}
        assert not dataset.synthetic

    def test_junk_is_left_out_and_distractors_stay(self, market: Path) -> None:
        gallery = open_dataset("market1501", market).gallery
        assert [(s.person, s.camera) for s in gallery.samples] == [(0, 4), (1, 2), (1501, 3)]

    @pytest.mark.parametrize(
        "name", ["0002_c1_f0046182.jpg", "2_c1s1_000451_03.jpg", "0002_c7s1_000451_03.jpg"]
    )
    def test_a_name_of_another_dataset(self, name: str, market: Path) -> None:
        touch(market / "bounding_box_train" / name)
        with pytest.raises(
            DatasetError, match=rf"{re.escape(name)} is not named as in Market-1501; expected"
        ):
            open_dataset("market1501", market)

    @pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
    @pytest.mark.parametrize("person", ["-1", "0000"])
    def test_nobody_where_persons_must_be(self, person: str, folder: str, market: Path) -> None:
        touch(market / folder / f"{person}_c1s1_000401_03.jpg")
        with pytest.raises(
            DatasetError, match="nobody who is searched for; expected it in bounding_box_test/"
        ):
            open_dataset("market1501", market)

    def test_a_training_identity_in_the_test(self, market: Path) -> None:
        touch(market / "bounding_box_test/0007_c1s1_000401_03.jpg")
        with pytest.raises(DatasetError, match="share 1 identities, the first is 0007"):
            open_dataset("market1501", market)

    def test_missing_and_empty_folders(self, market: Path) -> None:
        shutil.rmtree(market / "query")
        with pytest.raises(DatasetError, match="not a complete Market-1501: missing query/"):
            open_dataset("market1501", market)
        (market / "query").mkdir()
        with pytest.raises(DatasetError, match="query holds no image"):
            open_dataset("market1501", market)

    def test_verification_counts(self, market: Path) -> None:
        assert detect(market) == "market1501"
        report = verify(market)
        assert not report.problems
        assert {c.what: (c.found, c.expected) for c in report.counts if c.expected is not None} == {
            "train: images": (3, 12936),
            "query: images": (2, 3368),
            "gallery: images": (3, 15913),
            "train: persons": (2, 751),
            "test: persons": (3, 751),
        }
        assert not report.ok
        said = CliRunner().invoke(app, ["verify", str(market)])
        assert said.exit_code == 1
        assert re.search(r"FAIL +3  train: images  expected 12936", said.output)
        (market / "synthetic.json").write_text("{}")
        assert verify(market).ok


class TestMsmt:
    @pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_V2")])
    def test_both_versions(self, folders: tuple[str, str], msmt: Callable[..., Path]) -> None:
        root = msmt(*folders)
        assert detect(root) == "msmt17"
        dataset = open_dataset("msmt17", root)
        assert [(s.person, s.camera) for s in dataset.train.samples] == [
            (0, 1),
            (0, 4),
            (1, 15),
            (0, 2),
            (1, 7),
        ]
        assert [(s.person, s.camera) for s in dataset.query.samples] == [(10000, 3)]
        assert [(s.person, s.camera) for s in dataset.gallery.samples] == [(10000, 5), (10002, 6)]
        assert {s.path.relative_to(root).parts[0] for s in dataset.train.samples} == {folders[0]}
        assert all(s.path.is_file() for s in dataset.gallery.samples)
        assert {s.modality for s in dataset.train.samples} == {Modality.VISIBLE}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("0001/0000_000_01_x.jpg 0", "expected <identity>/<identity>_<image>_<camera>_"),
            ("0000/0000_000_01_0303morning_0008_0.jpg", "list_val.txt, line 1"),
            ("0001/0001_000_15_0303morning_0008_0.jpg 0", "label 0 stands for identities 0 and 1"),
            (
                "0001/0001_099_15_0303morning_0008_0.jpg 1",
                "1 images named in .*list_train.txt and .*list_val.txt",
            ),
            ("", "list_val.txt is empty"),
        ],
    )
    def test_a_bad_list(self, line: str, message: str, msmt: Callable[..., Path]) -> None:
        root = msmt()
        (root / "list_val.txt").write_text(line)
        with pytest.raises(DatasetError, match=message):
            open_dataset("msmt17", root)

    def test_missing_parts(self, msmt: Callable[..., Path]) -> None:
        root = msmt()
        shutil.rmtree(root / "test")
        (root / "list_val.txt").unlink()
        with pytest.raises(DatasetError, match=r"missing list_val\.txt, test/;"):
            open_dataset("msmt17", root)
        shutil.rmtree(root / "train")
        with pytest.raises(DatasetError, match=r"missing list_val\.txt, train/, test/;"):
            open_dataset("msmt17", root)
        assert verify(root, "msmt17").problems

    def test_verification_counts(self, msmt: Callable[..., Path]) -> None:
        report = verify(msmt("mask_train_v2", "mask_test_v2"))
        assert not report.problems
        assert {c.what: (c.found, c.expected) for c in report.counts if c.expected is not None} == {
            "train: images": (5, 32621),
            "query: images": (1, 11659),
            "gallery: images": (2, 82161),
            "train: persons": (2, 1041),
            "test: persons": (2, 3060),
        }


def test_published_counts_add_up() -> None:
    assert sum(published.SPLITS[msmt17.NAME].values()) == 126441
    assert sum(published.PERSONS[msmt17.NAME].values()) == 4101
    # 36,036 files, 3,819 of them junk; 1,501 persons and the distractors
    assert sum(published.SPLITS[market1501.NAME].values()) + 3819 == 12936 + 3368 + 19732
    assert sum(published.PERSONS[market1501.NAME].values()) == 1502
