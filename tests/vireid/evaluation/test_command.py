"""``vireid evaluate`` from the outside."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vireid.errors import BundleMissing, DatasetError, EvaluationError, MissingExtra
from vireid.evaluation.command import app

Draw = Callable[..., Path]


def invoke(*words: object, check: bool = True) -> Result:
    result = CliRunner().invoke(app, [*map(str, words), "--bundle", "fake"])
    if check:
        assert result.exit_code == 0, result.output
    return result


def test_a_table_and_a_file(sysu_tree: Draw, tmp_path: Path) -> None:
    out = tmp_path / "deep/er/scores.json"
    shown = invoke(
        "--data", sysu_tree(), "--name", "sysu-mm01", "--mode", "all", "--trials", 3, "--json", out
    )
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("sysu-mm01/all/single: all infrared images ask")
    assert lines[1].split() == [
        "trial",
        "queries",
        "valid",
        "gallery",
        "R1",
        "R5",
        "R10",
        "R20",
        "mAP",
        "mINP",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2", "mean", "std"]
    content = json.loads(out.read_text())
    assert content["sources"][0]["bundle"] == "fake"
    assert len(content["sources"][0]["space_id"]) == 64
    assert len(content["trials"]) == 3
    assert lines[2].split()[4] == f"{100 * content['trials'][0]['rank1']:.2f}"
    # the stand-in tells patterns apart: far above the one in three of chance
    assert content["mean"]["rank1"] > 0.8


@pytest.mark.parametrize(
    ("tree", "options", "name"),
    [
        ("regdb", ("--mode", "thermal-to-visible", "--trial", "2"), "regdb/thermal-to-visible"),
        ("llcm", ("--mode", "vis2ir_v2", "--trials", "2"), "llcm/vis2ir_v2"),
        ("folder", (), "folder/cross-camera"),
    ],
)
def test_the_layout_chooses_the_dataset(
    tree: str, options: tuple[str, ...], name: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(f"{tree}_tree")()
    assert invoke("--data", root, *options).stdout.startswith(name)


def test_drawn_images_are_labelled(sysu_tree: Draw) -> None:
    root = sysu_tree()
    (root / "synthetic.json").write_text("{}")
    assert invoke("--data", root).stdout.startswith("SYNTHETIC IMAGES: sysu-mm01/all/single")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--shots", "10"), EvaluationError, "ask for at most 3 shots"),
        (("--trial", "2"), EvaluationError, "sysu-mm01 have no trial"),
        (("--name", "market"), EvaluationError, "dataset is one of"),
        (("--name", "llcm"), DatasetError, "not a complete LLCM"),
        (("--draw", "official"), DatasetError, "rand_perm_cam.mat is missing"),
    ],
)
def test_refusals_reach_the_one_place_that_prints_them(
    options: tuple[str, ...], error: type[Exception], message: str, sysu_tree: Draw
) -> None:
    result = invoke("--data", sysu_tree(), *options, check=False)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert "embedding" not in result.stderr  # known before the long work begins


def test_a_bundle_that_is_not_there(sysu_tree: Draw, tmp_path: Path) -> None:
    words = ["--data", str(sysu_tree()), "--bundle", str(tmp_path / "absent.zip")]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, BundleMissing)


def test_a_report_and_pictures(sysu_tree: Draw, tmp_path: Path) -> None:
    html, pictures = tmp_path / "deep/er/report.html", tmp_path / "pictures"
    shown = invoke("--data", sysu_tree(), "--trials", 2, "--html", html, "--pictures", pictures)
    content = html.read_text()
    mean = shown.stdout.splitlines()[-2].split()
    assert mean[0] == "mean"
    for value in mean[1:]:
        assert f'<td class="mean">{value}</td>' in content
    assert content.count("data:image/jpeg;base64,") > 10
    assert len(list(pictures.iterdir())) == 10
    assert str(tmp_path) not in content


def test_a_report_of_features_in_files(folder_tree: Draw, tmp_path: Path) -> None:
    root = folder_tree()
    invoke("extract", "--data", root, "--out", tmp_path)
    files = [
        f"--{side}={tmp_path / name}.npz" for side, name in (("query", "infrared"), ("gallery", "visible"))
    ]
    words = ["features", "--protocol", "folder", *files, "--html", str(tmp_path / "report.html")]
    for images, expected in (([], False), (["--images", str(root)], True)):
        result = CliRunner().invoke(app, [*words, *images])
        assert result.exit_code == 0, result.output
        assert ("data:image/jpeg;base64," in (tmp_path / "report.html").read_text()) is expected
    missing = CliRunner().invoke(app, [*words, "--images", str(tmp_path)])
    assert isinstance(missing.exception, DatasetError)


def test_a_missing_extra_is_told_before_any_work(
    sysu_tree: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in ("report_html", "page"):  # another test may have loaded them already
        monkeypatch.delitem(sys.modules, f"vireid.evaluation.{name}", raising=False)
        monkeypatch.delattr(f"vireid.evaluation.{name}", raising=False)
    result = invoke("--data", sysu_tree(), "--html", tmp_path / "report.html", check=False)
    assert isinstance(result.exception, MissingExtra)
    assert "embedding" not in result.stderr
