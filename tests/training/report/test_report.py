"""The run report: what stands in it with and without each part, that it is sound, and that it is the same each time."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from training import checkpoint, models, report, run
from training.command import app
from training.data.images import Images
from training.evaluate import evaluate
from training.labels import pseudo
from training.report import charts, content, sight
from training.settings import RunSettings
from vireid.datasets import open_dataset
from vireid.datasets.split import Split
from vireid.errors import TrainingError
from vireid.images.preprocess import Preprocess

if TYPE_CHECKING:
    from conftest import Element

Parsed = Callable[[Path], "Element"]
Copy = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("one_thread")


def change(folder: Path, number: int, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit one line of a run's metrics."""
    lines = checkpoint.read_metrics(folder)
    edit(lines[number])
    (folder / checkpoint.METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def otla(trained: dict[str, Path]) -> Path:
    return report.write(trained["otla"], device="cpu")


@pytest.fixture(scope="module")
def supervised(trained: dict[str, Path]) -> Path:
    return report.write(trained["supervised"], device="cpu")


def test_the_document_is_sound_and_needs_nothing_else(otla: Path, parsed: Parsed) -> None:
    assert otla.name == "report.html"
    root, text = parsed(otla), otla.read_text()
    assert text.startswith('<!doctype html>\n<html lang="en">')
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in root.all():
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in ids
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), value
    for tag in ("script", "link", "iframe", "object", "form", "base"):
        assert not root.all(tag)
    foreign = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert foreign <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    (policy,) = (e for e in root.all("meta") if "http-equiv" in e.attributes)
    assert "default-src 'none'" in str(policy.attributes["content"])
    levels = [int(e.tag[1]) for e in root.all() if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for table in root.all("table"):
        assert len({len(row) for row in table.rows}) == 1
        assert table.all("caption")
    for svg in root.all("svg"):
        assert svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") == "true"


def test_it_says_what_ran(otla: Path, parsed: Parsed, trained: dict[str, Path]) -> None:
    root = parsed(otla)
    assert root.all("h1")[0].text == "otla (semi-supervised) on sysu-mm01"
    facts = root.all("dl", "facts")[0]
    told = {t.text: d.text for t, d in zip(facts.all("dt"), facts.all("dd"), strict=True)}
    assert told["Dataset"] == "sysu-mm01"
    assert told["Epochs"] == "3 of 3"
    assert told["Seed"] == "5"
    assert told["Start"] == "fresh weights"
    assert told["Training images"] == "60"
    assert told["torch"] == torch.__version__
    made = root.section("made")
    names = [dt.text for dt in made.all("dt")]
    assert "checkpoint sha256" in names
    assert "method › assignment" in names
    assert not any(detail.attributes for detail in made.all("details"))  # the recipe is folded away
    assert not root.all("div", "banner")
    assert str(trained["otla"].parent) not in otla.read_text()


def test_scores_are_those_recorded_and_the_last_epoch_is_reported(
    otla: Path, parsed: Parsed, trained: dict[str, Path]
) -> None:
    result = parsed(otla).section("result")
    recorded = checkpoint.metrics(trained["otla"])
    shown = {row[0]: row[2] for row in result.all("table")[0].rows[1:]}
    assert shown["Rank 1"] == f"{100 * recorded['mean']['rank1']:.2f}"
    assert shown["mAP"] == f"{100 * recorded['mean']['mAP']:.2f}"
    assert "Last, not best: the run ends with the weights of epoch 3" in result.text
    assert "Nothing was chosen on the test images." in result.text
    said = [li.text for li in result.all("li")]
    assert "Each image is embedded once." in said
    assert "Nothing is re-ranked." in said
    assert any("cosine" in sentence for sentence in said)
    table = parsed(otla).section("epochs").all("table")[0]
    assert [row[0] for row in table.rows] == ["Epoch", "0", "2", "3"]
    (reported,) = table.all("tr", "reported")
    assert reported.text.startswith("3")
    assert "sysu-mm01/all/single" in table.all("caption")[0].text


def test_each_loss_has_its_curve(otla: Path, supervised: Path, parsed: Parsed) -> None:
    drawn = parsed(otla).section("losses").charts
    assert drawn[-2:] == ["loss-total", "rate"]
    assert {"loss-identity", "loss-infrared-triplet", "loss-modality", "loss-alignment-visible"} < set(drawn)
    assert parsed(supervised).section("losses").charts == [
        "loss-identity",
        "loss-triplet",
        "loss-cross",
        "loss-total",
        "rate",
    ]


def test_labels_are_shown_where_there_are_some(
    otla: Path, supervised: Path, parsed: Parsed, trained: dict[str, Path]
) -> None:
    labels = parsed(otla).section("labels")
    assert labels.charts[:4] == ["label-accuracy", "label-quality", "label-pairs", "label-counts"]
    assert "told-iterations" in labels.charts
    assert labels.charts[-1] == "class-sizes"
    made = pseudo.load(trained["otla"] / "labels.npz").made
    (table,) = labels.all("table")
    assert "labels of epoch 3" in table.all("caption")[0].text
    for row, key in zip(table.rows[1:], ("histogram", "histogram_argmax"), strict=True):
        counts = np.array(made[key])
        assert row[1:3] == [str(len(counts)), str((counts == 0).sum())]
        assert row[3] == f"{100 * counts.max() / counts.sum():.2f}"
    none = parsed(supervised).section("labels")
    assert none.charts == []
    assert "made no pseudo-labels" in none.all("p", "absent")[0].text


def test_the_network_is_looked_through_before_and_after(otla: Path, parsed: Parsed) -> None:
    root = parsed(otla)
    assert root.section("found").charts == ["cmc", "histogram"]
    assert root.section("lists").all("h3")[0].text == "Best queries"
    assert root.section("lists").all("img")
    both = [
        f"{kind}-{colour}-{side}"
        for kind in ("pca", "tsne")
        for colour in ("modality", "person")
        for side in ("before", "after")
    ]
    assert root.section("modalities").charts == both
    assert [row[0] for row in root.section("modalities").all("table")[0].rows] == [
        "Training",
        "Before",
        "After",
    ]
    assert not root.section("modalities").all("p", "absent")


def test_before_is_the_network_the_run_began_with(
    blocks: Path, trained: dict[str, Path], recipe: Callable[..., RunSettings]
) -> None:
    dataset, size = open_dataset("sysu-mm01", blocks), Preprocess(64, 32)
    first = checkpoint.read_metrics(trained["supervised"])[0]
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    network = sight.untrained(recipe(), {})
    assert torch.equal(torch.rand(3), expected)  # chance elsewhere goes on as it was

    def images(split: Split) -> Images:
        return Images(split, size, 64)

    found = evaluate(network, images(dataset.query), images(dataset.gallery), dataset)
    assert first["epoch"] == 0
    assert found.to_json()["cmc"] == first["evaluation"]["cmc"]


def test_without_the_dataset_the_rest_is_drawn(alone: Copy, parsed: Parsed) -> None:
    made = report.write(alone("otla"), device="cpu")
    root = parsed(made)
    assert root.section("found").all("p", "absent")[0].text == content.NO_DATASET
    assert "gone" not in made.read_text()  # its path
    assert root.section("losses").charts
    assert root.section("labels").charts
    assert not root.all("img")
    # how it was measured is told from what was recorded
    assert any("re-ranked" in li.text for li in root.section("result").all("li"))


def test_a_moved_dataset_gives_the_same_bytes(alone: Copy, blocks: Path, otla: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - what a library may use
    torch.set_num_threads(2)
    made = report.write(alone("otla"), data=blocks, html=tmp_path / "here" / "r.html", device="cpu")
    assert made == tmp_path / "here" / "r.html"
    assert made.read_bytes() == otla.read_bytes()


def test_a_run_that_was_stopped_says_so(
    blocks: Path, tmp_path: Path, recipe: Callable[..., RunSettings], parsed: Parsed
) -> None:
    started = run.start(tmp_path / "run", recipe(evaluate_every=0), blocks, None, "cpu")
    fresh = parsed(report.write(tmp_path / "run", device="cpu"))
    assert "No epoch was finished yet" in fresh.section("result").text
    assert fresh.section("found").all("p", "absent")[0].text == content.NO_EPOCH
    assert fresh.section("losses").all("p", "absent")
    assert not fresh.all("svg")
    started.loop.train(until=1)
    one = parsed(report.write(tmp_path / "run", device="cpu"))
    assert "its recipe asks for 3 epochs" in one.section("result").text
    assert "Epoch 1, whose weights the run ends with, was not evaluated." in one.section("result").text
    assert one.section("losses").charts[0] == "loss-identity"  # one point is a picture too
    assert one.section("found").charts


def test_no_path_is_told_even_without_a_checkpoint(alone: Copy, parsed: Parsed) -> None:
    folder = alone("otla")
    origin = json.loads((folder / checkpoint.RUN).read_text())
    (folder / checkpoint.RUN).write_text(json.dumps(origin | {"source_root": "/somewhere/else"}))
    for keep in (True, False):
        if not keep:
            (folder / checkpoint.FILE).unlink()
        made = report.write(folder, device="cpu").read_text()
        assert "somewhere" not in made
        assert str(folder.parent) not in made
    assert parsed(folder / "report.html").section("found").all("p", "absent")[0].text == content.NO_EPOCH


def test_an_epoch_chosen_on_the_test_images_is_called_so(
    blocks: Path, tmp_path: Path, recipe: Callable[..., RunSettings], parsed: Parsed
) -> None:
    wanted = recipe(select="best_on_test", evaluate_every=1)
    run.start(tmp_path / "run", wanted, blocks, None, "cpu").loop.train()
    result = parsed(report.write(tmp_path / "run", device="cpu")).section("result")
    assert "Best, not last" in result.text
    assert "no fair score" in result.text
    best = max(
        (line for line in checkpoint.read_metrics(tmp_path / "run") if "selected" in line),
        key=lambda line: line["evaluation"]["mean"]["rank1"],
    )
    assert f"epoch {best['epoch']}" in result.text
    assert result.all("table")[0].rows[1][2] == f"{100 * best['evaluation']['mean']['rank1']:.2f}"


def test_weights_a_run_began_with_are_asked_for(
    blocks: Path, tmp_path: Path, recipe: Callable[..., RunSettings], parsed: Parsed
) -> None:
    wanted = recipe(epochs=1, evaluate_first=False)
    named: dict[str, torch.Tensor] = {}
    torch.manual_seed(1)
    for name, value in models.build(wanted.model).state_dict().items():
        part, _, source = name.partition(".")
        if part in {"visible_stem", "trunk"}:
            named[source] = value.contiguous()
    save_file(named, tmp_path / "standard.safetensors")
    save_file({**named, "more": torch.ones(1)}, tmp_path / "other.safetensors")
    begins, folder = tmp_path / "standard.safetensors", tmp_path / "run"
    run.start(folder, wanted, blocks, None, "cpu", begins).loop.train()
    without = parsed(report.write(folder, device="cpu")).section("modalities")
    assert "Name the file with --init" in without.all("p", "absent")[0].text
    assert "standard.safetensors" in without.text
    assert all(name.endswith("-after") for name in without.charts)
    given = parsed(report.write(folder, weights=begins, device="cpu")).section("modalities")
    assert "pca-modality-before" in given.charts
    with pytest.raises(TrainingError, match="name the file it began with"):
        report.write(folder, weights=tmp_path / "other.safetensors", device="cpu")
    with pytest.raises(TrainingError, match="there are no weights"):
        report.write(folder, weights=tmp_path / "none.safetensors", device="cpu")


def test_scores_that_no_longer_come_out_are_told(copy: Copy, parsed: Parsed) -> None:
    folder = copy("supervised")
    change(folder, -1, lambda line: line["evaluation"]["mean"].update(mAP=0.987))
    (warning,) = parsed(report.write(folder, device="cpu")).section("found").all("p", "absent")
    assert "98.70 then" in warning.text
    assert "Rank 1" not in warning.text


def test_labels_of_an_unfinished_epoch_are_called_so(alone: Copy, parsed: Parsed) -> None:
    folder = alone("otla")
    held = pseudo.load(folder / "labels.npz")
    pseudo.save(
        folder / "labels.npz",
        pseudo.PseudoLabels(held.labels, held.confidence / 2, held.outlier, held.made),
    )
    labels = parsed(report.write(folder, device="cpu")).section("labels")
    assert "an epoch that was begun and not finished" in labels.text


def test_labels_without_a_histogram_are_counted_by_modality(alone: Copy) -> None:
    folder = alone("otla")
    (folder / "labels.npz").unlink()
    found = charts.histograms(content.read(folder, None, None, "cpu"))
    recorded = checkpoint.read_metrics(folder)[-1]["labels"]["sizes"]
    assert {name: sizes.tolist() for name, sizes in found.items()} == recorded


def test_unknown_persons_leave_quality_out(alone: Copy, parsed: Parsed) -> None:
    folder = alone("otla")
    for number in range(4):
        change(
            folder,
            number,
            lambda line: line.get("labels", {}).update(
                dict.fromkeys(("accuracy", "r_gt", "r_ct", "p_v", "r_plq", "ari", "within", "across"))
            ),
        )
    labels = parsed(report.write(folder, device="cpu")).section("labels")
    assert labels.charts[0] == "label-counts"
    assert "is not known" in labels.all("p", "lead")[0].text


def test_names_never_become_markup(alone: Copy, parsed: Parsed) -> None:
    folder, evil = alone("supervised"), "<script>alert('x')</script>&{{ 7 * 7 }}"
    change(folder, -1, lambda line: line.update({evil: 1.5}))
    origin = json.loads((folder / checkpoint.RUN).read_text())
    (folder / checkpoint.RUN).write_text(json.dumps(origin | {"commit": evil, evil: evil}))
    root = parsed(report.write(folder, device="cpu"))
    assert not root.all("script")
    assert evil in [dd.text for dd in root.section("made").all("dd")]
    assert "alert" in root.section("labels").text


def test_drawn_people_are_called_so(alone: Copy, parsed: Parsed, tmp_path: Path) -> None:
    folder, pictures = alone("supervised"), tmp_path / "pictures"
    origin = json.loads((folder / checkpoint.RUN).read_text())
    (folder / checkpoint.RUN).write_text(json.dumps(origin | {"synthetic": True}))
    root = parsed(report.write(folder, pictures=pictures, device="cpu"))
    assert "SYNTHETIC IMAGES" in root.all("div", "banner")[0].text
    assert root.all("title")[0].text.startswith("SYNTHETIC: ")
    names = {path.name for path in pictures.iterdir()}
    expected = {"loss-identity", "loss-triplet", "loss-cross", "loss-total", "rate", "scores"}
    assert names == {f"{name}.{kind}" for name in expected for kind in ("svg", "png")}
    for file in pictures.glob("*.svg"):
        assert "SYNTHETIC IMAGES" in file.read_text()


@pytest.mark.slow
def test_every_picture_becomes_a_file(trained: dict[str, Path], otla: Path, tmp_path: Path) -> None:
    made = report.write(trained["otla"], html=tmp_path / "r.html", pictures=tmp_path / "all", device="cpu")
    assert made.read_bytes() == otla.read_bytes()
    found = charts.every(content.read(trained["otla"], None, None, "cpu"))
    assert {p.stem for p in (tmp_path / "all").glob("*.svg")} == {*found, "ranked-lists"}
    assert {p.stem for p in (tmp_path / "all").glob("*.png")} == {*found, "ranked-lists"}
    assert "SYNTHETIC" not in (tmp_path / "all" / "cmc.svg").read_text()


def test_the_command_tells_where_the_report_is(alone: Copy, tmp_path: Path) -> None:
    given = ["report", str(alone("supervised")), "--html", str(tmp_path / "r.html"), "--device", "cpu"]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == f"report    {tmp_path / 'r.html'}\n"
    assert "vireid training report" in (tmp_path / "r.html").read_text()
