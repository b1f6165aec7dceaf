"""Every reader against a tree of its exact layout, and against every way such a tree is usually broken."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vireid.datasets import READERS, Dataset, open_dataset, pixels, sysu
from vireid.errors import DatasetError
from vireid.types import Modality

Draw = Callable[..., Path]


def keys(dataset: Dataset, split: str) -> list[tuple[int, int, str]]:
    return [(s.person, s.camera, s.path.name) for s in getattr(dataset, split).samples]


def test_unknown_names_and_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'market'; expected one of sysu-mm01, regdb, llcm, folder"):
        open_dataset("market", tmp_path)
    with pytest.raises(DatasetError, match="llcm has one identity split, so no trial 2"):
        open_dataset("llcm", tmp_path, trial=2)


@pytest.mark.parametrize("name", READERS)
def test_a_root_that_is_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent is not a folder"):
        open_dataset(name, tmp_path / "absent")


class TestSysu:
    def test_order_and_sides(self, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        assert keys(dataset, "gallery")[:4] == [
            (6, 1, "0001.jpg"),
            (6, 1, "0002.jpg"),
            (6, 1, "0003.jpg"),
            (6, 2, "0001.jpg"),
        ]
        assert {s.camera for s in dataset.query.samples} == {3, 6}
        assert {s.camera for s in dataset.gallery.samples} == {1, 2, 4, 5}
        assert set(dataset.query.modalities.tolist()) == {Modality.INFRARED}
        assert set(dataset.gallery.modalities.tolist()) == {Modality.VISIBLE}
        assert sorted(set(dataset.train.persons.tolist())) == [1, 2, 3, 334]
        assert len(dataset.train) == 3 * (6 + 4 + 3 + 3)
        assert len(dataset.query) == 3 * (2 + 2 + 1)
        assert len(dataset.train.of(Modality.INFRARED)) == 3 * (2 + 2 + 1 + 1)
        assert not dataset.synthetic

    def test_other_names_in_the_folders_do_not_matter(self, sysu_tree: Draw) -> None:
        root = sysu_tree("cam9 copy of cam3")
        shutil.move(root / "cam1/0006/0001.jpg", root / "cam1/0006/a longer name.jpeg")
        (root / "cam1/0006/Thumbs.db").write_bytes(b"x")
        (root / "cam1/.cache").mkdir()
        dataset = open_dataset("sysu-mm01", root)
        assert [k for k in keys(dataset, "gallery") if k[:2] == (6, 1)] == [
            (6, 1, "0002.jpg"),
            (6, 1, "0003.jpg"),
            (6, 1, "a longer name.jpeg"),
        ]

    def test_the_marker_makes_it_synthetic(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        (root / "synthetic.json").write_text("{}")
        assert open_dataset("sysu-mm01", root).synthetic

    def test_every_missing_part_is_named_at_once(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        shutil.rmtree(root / "cam3")
        (root / "exp/val_id.txt").unlink()
        with pytest.raises(DatasetError, match=r"missing cam3/, exp/val_id\.txt; copy what is missing"):
            open_dataset("sysu-mm01", root)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", r"test_id\.txt is empty"),
            ("6;10", r"test_id\.txt holds '6;10'; expected one line of comma-separated identity numbers"),
            ("6,10,6", r"test_id\.txt names 6 twice"),
            ("6,-10", r"holds '-10'"),
            ("6,10,334", r"lists val and test share 1 identities, the first is 334"),
            (
                "6,10,21,333",
                r"1 identities of the lists in exp/ have no image in any camera, the first is 0333",
            ),
        ],
    )
    def test_a_bad_list(self, content: str, message: str, sysu_tree: Draw) -> None:
        root = sysu_tree()
        (root / "exp/test_id.txt").write_text(content)
        with pytest.raises(DatasetError, match=message):
            open_dataset("sysu-mm01", root)

    def test_a_list_that_is_no_text(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        (root / "exp/test_id.txt").write_bytes(b"\xff\xfe\x00\x01\x80")
        with pytest.raises(DatasetError, match=r"test_id\.txt is not a text file"):
            open_dataset("sysu-mm01", root)

    def test_an_empty_identity_folder(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        for image in (root / "cam2/0010").iterdir():
            image.unlink()
        with pytest.raises(DatasetError, match=r"cam2/0010 holds no image"):
            open_dataset("sysu-mm01", root)

    @pytest.mark.parametrize(
        ("name", "message"), [("bob", "not named after an identity"), ("06", "same identity")]
    )
    def test_a_strange_identity_folder(self, name: str, message: str, sysu_tree: Draw) -> None:
        root = sysu_tree()
        (root / "cam1" / name).mkdir()
        with pytest.raises(DatasetError, match=message):
            open_dataset("sysu-mm01", root)

    def test_an_identity_folder_that_is_a_file(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        shutil.rmtree(root / "cam6")
        (root / "cam6").write_text("a camera once")
        with pytest.raises(DatasetError, match="missing cam6/"):
            open_dataset("sysu-mm01", root)


def permutation_file(root: Path, orders: dict[tuple[int, int], np.ndarray]) -> None:
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        cell = np.empty((400, 1), dtype=object)
        for person in range(1, 401):
            cell[person - 1, 0] = orders.get((person, camera), np.zeros((10, 0), np.uint8))
        cameras[camera - 1, 0] = cell
    savemat(root / "exp/rand_perm_cam.mat", {"rand_perm_cam": cameras})


class TestSysuPermutations:
    def test_they_are_read_by_person_and_camera(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        order = np.array([np.roll([1, 2, 3], t) for t in range(10)], dtype=np.uint8)
        permutation_file(root, {(6, 1): order, (21, 5): order[::-1]})
        found = sysu.permutations(root)
        assert set(found) == {(6, 1), (21, 5)}
        assert found[21, 5].tolist() == order[::-1].tolist()

    def test_the_missing_file_says_where_to_get_it(self, sysu_tree: Draw) -> None:
        with pytest.raises(DatasetError, match=r"evaluation/data_split .* or use the python draw"):
            sysu.permutations(sysu_tree())

    def test_another_file(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        savemat(root / "exp/rand_perm_cam.mat", {"something": np.zeros(3)})
        with pytest.raises(DatasetError, match="not the official file"):
            sysu.permutations(root)
        (root / "exp/rand_perm_cam.mat").write_bytes(b"no matlab here")
        with pytest.raises(DatasetError, match="not the official file"):
            sysu.permutations(root)

    def test_orders_that_are_none(self, sysu_tree: Draw) -> None:
        root = sysu_tree()
        permutation_file(root, {(6, 1): np.ones((10, 3), np.uint8)})
        with pytest.raises(DatasetError, match="identity 6, camera 1 holds"):
            sysu.permutations(root)


class TestRegdb:
    def test_order_labels_and_cameras(self, regdb_tree: Draw) -> None:
        dataset = open_dataset("regdb", regdb_tree(), trial=3)
        assert dataset.trial == 3
        assert [s.person for s in dataset.query.samples] == [412, 412, 1, 1]
        assert [s.person for s in dataset.gallery.samples] == [412, 412, 1, 1]
        assert set(dataset.query.cameras.tolist()) == {2}
        assert set(dataset.gallery.cameras.tolist()) == {1}
        assert set(dataset.train.persons.tolist()) == {2, 30}
        assert len(dataset.train.of(Modality.INFRARED)) == 4
        assert set(open_dataset("regdb", dataset.root, trial=2).train.persons.tolist()) == {1, 412}

    def test_bitmaps_are_read(self, regdb_tree: Draw) -> None:
        sample = open_dataset("regdb", regdb_tree()).query.samples[0]
        assert pixels.read(sample.path).shape == (32, 16, 3)

    @pytest.mark.parametrize("trial", [0, 11])
    def test_there_are_ten_trials(self, trial: int, regdb_tree: Draw) -> None:
        with pytest.raises(DatasetError, match=f"trials 1 to 10, not {trial}"):
            open_dataset("regdb", regdb_tree(), trial=trial)

    def test_a_missing_list_is_named(self, regdb_tree: Draw) -> None:
        root = regdb_tree()
        (root / "idx/test_thermal_4.txt").unlink()
        with pytest.raises(DatasetError, match=r"missing idx/test_thermal_4\.txt"):
            open_dataset("regdb", root, trial=4)
        assert open_dataset("regdb", root, trial=5).trial == 5

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("Visible/412/", "Visible/1/", "label 0 stands for identities 1 and 412; expected one"),
            ("Visible/412/", "Visible/x412/", "expected Visible/<identity>/<image>"),
            ("Visible/412/", "Thermal/412/", "expected Visible/<identity>/<image>"),
            (".bmp 0", ".bmp zero", "line 1: .* expected a relative path and a label number"),
            ("_00001_412.bmp", "_00009_412.bmp", r"1 images named in .*test_visible_1\.txt are not there"),
        ],
    )
    def test_a_bad_list(self, old: str, new: str, message: str, regdb_tree: Draw) -> None:
        root = regdb_tree()
        path = root / "idx/test_visible_1.txt"
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(DatasetError, match=message):
            open_dataset("regdb", root)

    def test_an_empty_list(self, regdb_tree: Draw) -> None:
        root = regdb_tree()
        (root / "idx/train_thermal_1.txt").write_text("\n")
        with pytest.raises(DatasetError, match=r"train_thermal_1\.txt is empty"):
            open_dataset("regdb", root)

    def test_modalities_must_name_the_same_persons(self, regdb_tree: Draw) -> None:
        root = regdb_tree()
        path = root / "idx/test_visible_1.txt"
        path.write_text("".join(line for line in path.read_text().splitlines(True) if "/1/" not in line))
        with pytest.raises(
            DatasetError, match=r"test lists of trial 1 name other identities .* for example 1"
        ):
            open_dataset("regdb", root)

    def test_train_and_test_must_be_disjoint(self, regdb_tree: Draw) -> None:
        root = regdb_tree()
        for kind in ("visible", "thermal"):
            shutil.copy(root / f"idx/train_{kind}_1.txt", root / f"idx/test_{kind}_1.txt")
        with pytest.raises(
            DatasetError, match="train and test of trial 1 share 2 identities, the first is 2"
        ):
            open_dataset("regdb", root)


class TestLlcm:
    @pytest.mark.parametrize("name", ["LLCM", "cam7/of cam/camera_c08_"])
    def test_order_and_cameras_whatever_the_parent_is_called(self, name: str, llcm_tree: Draw) -> None:
        dataset = open_dataset("llcm", llcm_tree(name))
        assert [k[:2] for k in keys(dataset, "gallery")] == [(15, 5)] * 2 + [(15, 9)] * 2 + [(891, 5)] * 2 + [
            (891, 6)
        ] * 2
        assert set(dataset.query.modalities.tolist()) == {Modality.INFRARED}
        assert [k[:2] for k in keys(dataset, "train")][:4] == [(250, 5), (250, 6), (3, 5), (3, 6)]
        assert len(dataset.train) == 8

    def test_missing_parts_are_named(self, llcm_tree: Draw) -> None:
        root = llcm_tree()
        shutil.rmtree(root / "test_vis/cam3")
        shutil.rmtree(root / "nir")
        with pytest.raises(DatasetError, match=r"missing nir/, test_vis/cam3/"):
            open_dataset("llcm", root)

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("idx/test_id.txt", "0891,0016", "1 identities of idx/test_id.txt have no image .* 0016"),
            ("idx/test_id.txt", "0891,0250", "training and test share 1 identities, the first is 250"),
            (
                "idx/train_nir.txt",
                "nir/0250/0250_s1_f1_nir.jpg 0",
                "expected nir/<identity>/<identity>_c<camera>_",
            ),
            ("idx/train_nir.txt", "vis/0250/0250_c05_s1_f1_vis.jpg 0", "expected nir/<identity>"),
            ("idx/train_nir.txt", "nir/0250/0250_c05_s9_f9_nir.jpg 0", "1 images named in .* are not there"),
        ],
    )
    def test_bad_lists(self, file: str, content: str, message: str, llcm_tree: Draw) -> None:
        root = llcm_tree()
        (root / file).write_text(content)
        with pytest.raises(DatasetError, match=message):
            open_dataset("llcm", root)

    def test_an_empty_identity_folder(self, llcm_tree: Draw) -> None:
        root = llcm_tree()
        for image in (root / "test_nir/cam9/0015").iterdir():
            image.unlink()
        with pytest.raises(DatasetError, match="test_nir/cam9/0015 holds no image"):
            open_dataset("llcm", root)


class TestFolder:
    def test_two_folders(self, folder_tree: Draw) -> None:
        dataset = open_dataset("folder", folder_tree())
        assert [(s.person, s.camera) for s in dataset.query.samples] == [(0, 2), (1, 2), (2, 2)]
        assert [(s.person, s.camera) for s in dataset.gallery.samples] == [
            (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1),
        ]  # fmt: skip
        assert len(dataset.train) == 0

    def test_one_modality_asks_itself(self, folder_tree: Draw) -> None:
        root = folder_tree()
        shutil.rmtree(root / "infrared")
        dataset = open_dataset("folder", root)
        assert dataset.query.samples == dataset.gallery.samples
        assert len(dataset.query) == 6

    def test_a_manifest(self, folder_tree: Draw) -> None:
        root = folder_tree()
        (root / "manifest.csv").write_text(
            "\ufeffpath,person,camera,modality,split\n"
            "visible/ada/gate_0.png,0012,cam3,visible,gallery\n"
            "infrared/ada/yard_7.png,0012,cam7,Infrared,query\n"
            '"visible/bob/gate_0.png",7,cam3,visible,train\n'
            "visible/cyd/gate_0.png,9,cam3,visible,\n",
            encoding="utf-8",
        )
        dataset = open_dataset("folder", root)
        assert [(s.person, s.camera) for s in dataset.query.samples] == [(12, 7), (9, 3)]
        assert [(s.person, s.camera) for s in dataset.gallery.samples] == [(12, 3), (9, 3)]
        assert [(s.person, s.camera) for s in dataset.train.samples] == [(7, 3)]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("path,person,camera\nx,1,2\n", r"has the columns path, person, camera; missing modality"),
            ("", r"found the columns \(none\); the first line must name path"),
            ("path,person,camera,modality\n", "holds no row"),
            ("path,person,camera,modality\nvisible/ada/gate_0.png,,1,visible\n", "line 2: person is empty"),
            ("path,person,camera,modality\nvisible/ada/gate_0.png,1\n", "line 2: camera, modality is empty"),
            (
                "path,person,camera,modality\nvisible/ada/gate_0.png,1,1,red\n",
                "line 2: found modality 'red'",
            ),
            (
                "path,person,camera,modality\nvisible/x.png,1,1,visible\n",
                "1 images named in .* are not there",
            ),
            (
                "path,person,camera,modality,split\nvisible/ada/gate_0.png,1,1,visible,val\n",
                "line 2: split is one of train, query, gallery, test, not 'val'",
            ),
            (
                "path,person,camera,modality,split\nvisible/ada/gate_0.png,1,1,visible,query\n",
                "1 images ask and 0 can be found",
            ),
        ],
    )
    def test_bad_manifests(self, content: str, message: str, folder_tree: Draw) -> None:
        root = folder_tree()
        (root / "manifest.csv").write_text(content)
        with pytest.raises(DatasetError, match=message):
            open_dataset("folder", root)

    def test_neither_form(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"neither manifest\.csv nor a folder visible/ or infrared/"):
            open_dataset("folder", tmp_path)

    def test_folders_without_images_or_cameras(self, folder_tree: Draw, tmp_path: Path) -> None:
        (tmp_path / "bare/visible/ada").mkdir(parents=True)
        with pytest.raises(DatasetError, match="visible/ hold no image"):
            open_dataset("folder", tmp_path / "bare")
        root = folder_tree()
        shutil.move(root / "visible/ada/gate_0.png", root / "visible/ada/gate.png")
        with pytest.raises(
            DatasetError, match=r"gate\.png names no camera; expected <camera>_<anything>\.png"
        ):
            open_dataset("folder", root)

    def test_names_that_collide_as_numbers_are_numbered_apart(self, folder_tree: Draw) -> None:
        root = folder_tree()
        (root / "manifest.csv").write_text(
            "path,person,camera,modality\n"
            "visible/ada/gate_0.png,7,1,visible\n"
            "infrared/ada/yard_7.png,007,2,infrared\n"
        )
        dataset = open_dataset("folder", root)
        assert {s.person for s in dataset.query.samples + dataset.gallery.samples} == {0, 1}


class TestPixels:
    @pytest.mark.parametrize(
        ("name", "content"), [("a.jpg", b"text"), ("a.bmp", b"BMtext"), ("a.png", b""), ("a.bmp", b"")]
    )
    def test_an_unreadable_image_is_named(self, name: str, content: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=rf"{name} cannot be read: .*; copy it again"):
            pixels.read(tmp_path / name)

    def test_a_missing_image_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"a\.bmp cannot be read"):
            pixels.read(tmp_path / "a.bmp")
