"""``vireid evaluate extract`` and ``vireid evaluate features`` from the outside, against the run on the dataset itself."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from vireid.errors import EvaluationError
from vireid.evaluation.command import app

Draw = Callable[..., Path]
PRESETS = [
    ("sysu", "sysu-mm01/agw", "infrared", "visible"),
    ("regdb", "regdb", "visible", "infrared"),
    ("llcm", "llcm/ir2vis", "infrared", "visible"),
    ("llcm", "llcm/v1", "visible", "infrared"),
    ("llcm", "llcm/v2", "infrared", "visible"),
    ("folder", "folder", "infrared", "visible"),
]


def invoke(*words: object, check: bool = True) -> Result:
    result = CliRunner().invoke(app, [*map(str, words)])
    if check:
        assert result.exit_code == 0, result.output + str(result.exception)
    return result


def pair(folder: Path, query: str, gallery: str) -> tuple[object, ...]:
    return ("--query", folder / f"{query}.npz", "--gallery", folder / f"{gallery}.npz")


@pytest.mark.parametrize(("tree", "name", "query", "gallery"), PRESETS)
def test_files_and_folders_and_bundles_agree(
    tree: str, name: str, query: str, gallery: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue(f"{tree}_tree")()
    invoke("extract", "--data", root, "--bundle", "fake", "--out", tmp_path / "features")
    reports = [tmp_path / f"{way}.json" for way in ("bundle", "folder", "files")]
    shared = ("--protocol", name)
    shown = invoke("--data", root, "--bundle", "fake", *shared, "--json", reports[0])
    invoke("--data", root, "--features", tmp_path / "features", *shared, "--json", reports[1])
    invoke("features", *pair(tmp_path / "features", query, gallery), *shared, "--json", reports[2])
    bundle, folder, files = (json.loads(path.read_text()) for path in reports)
    assert f"preset {name}" in shown.stdout
    for other in (folder, files):
        assert other["protocol"] == bundle["protocol"]
        assert [t["hits"] for t in other["trials"]] == [t["hits"] for t in bundle["trials"]]
        for key in ("mAP", "mINP"):
            assert other["mean"][key] == pytest.approx(bundle["mean"][key], abs=1e-12)
        for side in ("query", "gallery"):
            assert other["sources"][0][side] == bundle["sources"][0][side]
            assert len(other["sources"][0]["features_sha256"][side]) == 64
        assert other["sources"][0]["space_id"] == bundle["sources"][0]["space_id"] != ""
    assert folder["sources"][0]["features_sha256"] == files["sources"][0]["features_sha256"]


def test_a_second_run_gives_the_same_bytes_wherever_the_data_lies(sysu_tree: Draw, tmp_path: Path) -> None:
    written = []
    for number in (1, 2):
        root = sysu_tree(f"copy {number}")
        files = [tmp_path / f"{number}{suffix}" for suffix in (".json", ".csv")]
        invoke("--data", root, "--bundle", "fake", "--trials", 3, "--json", files[0], "--csv", files[1])
        invoke("extract", "--data", root, "--bundle", "fake", "--out", tmp_path / str(number))
        files += [tmp_path / str(number) / f"{side}.npz" for side in ("visible", "infrared")]
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert str(tmp_path).encode() not in written[0][0]


def test_the_report_changes_with_the_list_of_images(sysu_tree: Draw, tmp_path: Path) -> None:
    def source(root: Path) -> dict[str, Any]:
        invoke("--data", root, "--bundle", "fake", "--json", tmp_path / "r.json")
        found: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())["sources"][0]
        return found

    root = sysu_tree()
    before = source(root)
    (root / "cam1/0006/0001.jpg").rename(root / "cam1/0006/0009.jpg")
    after = source(root)
    assert after["query"] == before["query"]
    assert after["gallery"]["images"] == before["gallery"]["images"]
    assert after["gallery"]["sha256"] != before["gallery"]["sha256"]


def test_csv_has_a_line_for_each_trial(sysu_tree: Draw, tmp_path: Path) -> None:
    out, report = tmp_path / "deep/er/trials.csv", tmp_path / "r.json"
    invoke("--data", sysu_tree(), "--bundle", "fake", "--ranks", "2,1,900", "--csv", out, "--json", report)
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    trials = json.loads(report.read_text())["trials"]
    assert [row["trial"] for row in rows] == [str(t["trial"]) for t in trials] == [str(t) for t in range(10)]
    for row, trial in zip(rows, trials, strict=True):
        assert float(row["mAP"]) == trial["mAP"]
        assert float(row["rank900"]) == trial["rank900"] == 1.0  # there are three persons
        assert float(row["rank2"]) == trial["hits"][1] / trial["n_valid"]
        assert len(trial["hits"]) == 900


def test_ten_splits_of_regdb_are_ten_trials(regdb_tree: Draw, tmp_path: Path) -> None:
    root = regdb_tree()
    for split in range(1, 11):
        out = tmp_path / f"split {split}"
        invoke("extract", "--data", root, "--bundle", "fake", "--trial", split, "--out", out)
    every, one = tmp_path / "ten.json", tmp_path / "one.json"
    features = tmp_path / "split {split}"
    shown = invoke("features", "--protocol", "regdb", *pair(features, "visible", "infrared"), "--json", every)
    assert "identity splits 1 to 10 of 10, a model for each" in shown.stdout
    assert "published numbers are means" not in shown.stdout
    report = json.loads(every.read_text())
    assert (
        [t["trial"] for t in report["trials"]] == [s["split"] for s in report["sources"]] == [*range(1, 11)]
    )
    assert report["mean"]["mAP"] == pytest.approx(np.mean([t["mAP"] for t in report["trials"]]))
    assert len({s["query"]["sha256"] for s in report["sources"]}) == 2  # the tree alternates two lists
    invoke("--data", root, "--features", features, "--json", tmp_path / "folder.json")
    assert json.loads((tmp_path / "folder.json").read_text())["trials"] == report["trials"]
    shown = invoke("--data", root, "--features", features, "--trial", 4, "--json", one)
    assert "1 of 10 identity splits; published numbers are means over 10 models, one for each" in shown.stdout
    assert json.loads(one.read_text())["trials"] == report["trials"][3:4]


def test_ten_bundles_of_regdb(regdb_tree: Draw, tmp_path: Path) -> None:
    shutil.copytree(regdb_tree(), tmp_path / "data")
    result = invoke("--data", tmp_path / "data", "--bundle", tmp_path / "model-{split}.zip", check=False)
    assert "model-1.zip" in str(result.exception)  # the first of ten is looked for
    result = invoke("--data", tmp_path / "data", "--bundle", "fake", "--trial", 0, check=False)
    assert "all identity splits need a model for each" in str(result.exception)


def test_flip_averaging_is_said_and_done(llcm_tree: Draw, tmp_path: Path) -> None:
    root = llcm_tree()
    reports = {}
    for way in ("plain", "flip"):
        flags = ["--flip"] if way == "flip" else []
        invoke("extract", "--data", root, "--bundle", "fake", "--out", tmp_path / way, *flags)
        invoke("--data", root, "--bundle", "fake", *flags, "--json", tmp_path / "direct.json")
        invoke(
            "features", "--protocol", "llcm/v2", *pair(tmp_path / way, "infrared", "visible"),
            "--json", tmp_path / f"{way}.json",
        )  # fmt: skip
        reports[way] = json.loads((tmp_path / f"{way}.json").read_text())
        direct = json.loads((tmp_path / "direct.json").read_text())
        assert direct["protocol"]["flip"] == reports[way]["protocol"]["flip"]
    assert "each image is embedded once" in reports["plain"]["protocol"]["words"]
    assert "averaged with those of the mirrored image" in reports["flip"]["protocol"]["words"]
    assert (
        reports["plain"]["sources"][0]["features_sha256"] != reports["flip"]["sources"][0]["features_sha256"]
    )
    vectors = np.load(tmp_path / "flip/visible.npz")["features"]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-6)


def test_re_ranking_is_said_and_done(llcm_tree: Draw, tmp_path: Path) -> None:
    root = llcm_tree()
    words = ("--data", root, "--bundle", "fake", "--trials", 2)
    plain = invoke(*words).stdout
    shown = invoke(*words, "--rerank", "k-reciprocal", "--k1", 3, "--k2", 2, "--candidates", 4).stdout
    assert "the first 4 candidates are re-ranked by k-reciprocal neighbours (k1 3, k2 2, weight 0.3)" in shown
    assert "nothing is re-ranked" in plain


@pytest.fixture
def features(sysu_tree: Draw, tmp_path: Path) -> Path:
    invoke("extract", "--data", sysu_tree(), "--bundle", "fake", "--out", tmp_path / "features")
    return tmp_path / "features"


def refused(*words: object) -> str:
    result = invoke("features", *words, check=False)
    assert isinstance(result.exception, EvaluationError), result.output
    return str(result.exception)


class TestRefusals:
    def change(self, file: Path, /, **arrays: Any) -> None:
        with np.load(file) as found:
            changed = {**found, **arrays}
        np.savez(file, **changed)

    def test_sides_turned_round(self, features: Path) -> None:
        said = refused("--protocol", "sysu-mm01/agw", *pair(features, "visible", "infrared"))
        assert "query images are visible" in said
        assert "take the others out, or turn the sides round" in said

    def test_cameras_that_do_not_ask(self, features: Path) -> None:
        cameras = np.load(features / "infrared.npz")["camera"]
        self.change(features / "infrared.npz", camera=np.where(cameras == 3, 2, cameras))
        said = refused("--protocol", "sysu-mm01/agw", *pair(features, "infrared", "visible"))
        assert "query images are of camera 2; sysu-mm01/all/single asks from cameras 3, 6" in said

    def test_an_empty_gallery(self, features: Path) -> None:
        cameras = np.load(features / "visible.npz")["camera"]
        self.change(features / "visible.npz", camera=np.where(cameras < 3, 4, cameras))
        words = pair(features, "infrared", "visible")
        said = refused("--protocol", "sysu-mm01/agw", "--mode", "indoor", *words)
        assert (
            "images are of cameras 4, 5; sysu-mm01/indoor/single finds images of cameras 1, 2, so its gallery"
            in said
        )

    def test_persons_numbered_in_two_ways(self, features: Path) -> None:
        persons = np.load(features / "visible.npz")["person"]
        self.change(features / "visible.npz", person=persons + 1000)
        said = refused("--protocol", "sysu-mm01/agw", *pair(features, "infrared", "visible"))
        assert (
            "no person is in both query and gallery: 3 persons from 6 to 21 ask and 3 persons from 1006"
            in said
        )

    def test_another_dimension(self, features: Path) -> None:
        vectors = np.load(features / "visible.npz")["features"]
        self.change(features / "visible.npz", features=vectors[:, :9])
        said = refused("--protocol", "sysu-mm01/agw", *pair(features, "infrared", "visible"))
        assert "query features have 64 dimensions, gallery features 9" in said

    def test_not_a_number(self, features: Path) -> None:
        vectors = np.load(features / "visible.npz")["features"]
        vectors[3, 1] = np.nan
        self.change(features / "visible.npz", features=vectors)
        said = refused("--protocol", "sysu-mm01/agw", *pair(features, "infrared", "visible"))
        assert "gallery features hold NaN or infinity, first for cam" in said

    def test_the_official_draw_needs_its_file(self, features: Path, tmp_path: Path) -> None:
        words = ("--protocol", "sysu-mm01/official", *pair(features, "infrared", "visible"))
        assert "needs --permutations FILE: rand_perm_cam.mat" in refused(*words)
        result = invoke("features", *words, "--permutations", tmp_path / "none.mat", check=False)
        assert "none.mat is missing; the official draw needs it" in str(result.exception)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--protocol", "sysu"), "protocol is one of sysu-mm01/agw, sysu-mm01/official"),
            (("--protocol", "sysu-mm01/agw", "--ranks", "0,5"), "ranks are whole numbers from 1"),
            (("--protocol", "sysu-mm01/agw", "--k1", "5"), "k1 belongs to re-ranking, which is off"),
            (("--protocol", "sysu-mm01/agw", "--rerank", "mean"), "rerank is one of none, k-reciprocal"),
            (("--protocol", "regdb", "--trial", "0"), "all identity splits need a model for each"),
        ],
    )
    def test_options(self, words: tuple[str, ...], message: str, features: Path) -> None:
        assert message in refused(*words, *pair(features, "infrared", "visible"))

    def test_a_protocol_of_another_dataset(self, sysu_tree: Draw) -> None:
        result = invoke("--data", sysu_tree(), "--bundle", "fake", "--protocol", "llcm/v1", check=False)
        assert "the protocol llcm/v1 is for llcm, the dataset is sysu-mm01; name one of sysu-mm01/agw" in str(
            result.exception
        )

    def test_no_dataset_and_misplaced_options(self, tmp_path: Path) -> None:
        assert "Missing option '--data'" in invoke(check=False).output
        misplaced = invoke("--data", tmp_path, "extract", "--out", tmp_path, "--data", tmp_path, check=False)
        assert misplaced.exit_code == 2
        assert "options go after extract" in misplaced.output
        both = invoke("--data", tmp_path, "--bundle", "fake", "--features", tmp_path, check=False)
        assert "give --bundle or --features, not both" in both.output


@pytest.mark.parametrize(("draw", "setting"), [("python", "indoor_single"), ("perm", "indoor_multi")])
def test_golden_features_in_files(
    draw: str, setting: str, golden: dict[str, Any], recipe: ModuleType, tmp_path: Path
) -> None:
    """The golden problems as anybody would hand them in: int16 features, no paths."""
    from scipy.io import savemat

    pool = recipe.pool("sysu", golden["structure"]["sysu"])
    vectors = recipe.features("sysu", pool, golden["seed"])
    for name, modality in (("visible", 0), ("infrared", 1)):
        rows = np.flatnonzero(pool[:, 3] == modality)
        np.savez(tmp_path / f"{name}.npz", features=vectors[rows], person=pool[rows, 1], camera=pool[rows, 2])
    tables = recipe.permutations(pool, golden["perm_seed"])
    cells = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        cells[camera - 1, 0] = np.empty((333, 1), dtype=object)
        for person in range(1, 334):
            orders = [t[person, camera] for t in tables if (person, camera) in t]
            cell = np.array(orders, dtype=np.uint8) if orders else np.zeros((10, 0), np.uint8)
            cells[camera - 1, 0][person - 1, 0] = cell
    savemat(tmp_path / "orders.mat", {"rand_perm_cam": cells})
    mode, shots = setting.split("_")
    preset = ("sysu-mm01/official", "--permutations", tmp_path / "orders.mat")
    invoke(
        "features", "--protocol", *(preset if draw == "perm" else ("sysu-mm01/agw",)), "--mode", mode,
        "--shots", {"single": 1, "multi": 10}[shots], *pair(tmp_path, "infrared", "visible"),
        "--json", tmp_path / "r.json",
    )  # fmt: skip
    want = golden["sysu"][setting][draw]["ip_trials"]
    for found, wanted in zip(json.loads((tmp_path / "r.json").read_text())["trials"], want, strict=True):
        assert [found["hits"][r - 1] for r in (1, 5, 10, 20)] == wanted["hits"]
        assert (found["n_valid"], found["n_query"]) == (wanted["n_valid"], 3803)
        assert (found["mAP"], found["mINP"]) == pytest.approx((wanted["mAP"], wanted["mINP"]), abs=1e-9)
