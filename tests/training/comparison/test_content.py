"""Which runs are put together, which stand in one table, and which are left out."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training import checkpoint
from training.comparison import content
from training.comparison.content import Content, Part
from training.comparison.rows import Row
from vireid.errors import TrainingError

Made = Callable[..., Path]


def only(found: Content) -> Part:
    """Return the one table, and demand that nothing warns of others."""
    (part,) = found.parts
    assert not found.warning
    return part


def one(found: Content) -> Row:
    (row,) = only(found).rows
    return row


def test_seeds_of_a_recipe_are_one_row_with_mean_and_deviation(made: Made) -> None:
    values = (0.4, 0.5, 0.7)
    runs = [made(f"s{k}", {3: value}, settings={"seed": k}) for k, value in enumerate(values)]
    row = one(content.read(runs))
    assert row.scores["Rank 1"].mean == pytest.approx(statistics.mean(values))
    assert row.scores["Rank 1"].std == pytest.approx(statistics.stdev(values))
    assert row.scores["mAP"].mean == pytest.approx(statistics.mean(values) - 0.05)
    assert row.runs == ("s0", "s1", "s2")
    assert row.facts["Seeds"] == "0, 1, 2"
    assert row.facts["Start"] == "resnet50.safetensors"
    assert row.seconds is not None
    assert row.seconds.mean == pytest.approx(4.0)
    assert row.marks == ()


def test_a_single_run_has_no_deviation(made: Made) -> None:
    row = one(content.read([made("a", {3: 0.4})]))
    assert row.scores["mAP"].std is None


@pytest.mark.parametrize(
    "settings",
    [
        {"threads": 3},
        {"tensorboard": "off"},
        {"evaluate_every": 3},
        {"evaluate_first": True},
        {"data": {"loaders": 2, "ahead": 0, "cache_mb": 7}},
    ],
)
def test_what_changes_no_weight_parts_no_seeds(made: Made, settings: dict[str, Any]) -> None:
    runs = [made("a", {3: 0.4}), made("b", {3: 0.5}, settings={"seed": 1, **settings})]
    assert len(one(content.read(runs)).runs) == 2


@pytest.mark.parametrize(
    ("settings", "origin", "said"),
    [
        ({"iterations": 5}, {}, "iterations = 5"),
        ({"method": {"name": "supervised", "cross_weight": 0.0}}, {}, "method.cross_weight = 0.0"),
        ({"data": {"persons": 4}}, {}, "data.persons = 4"),
        ({}, {"start": "fresh weights"}, "start = fresh weights"),
        ({}, {"source": {"name": "llcm"}}, "source = llcm"),
        ({}, {"stage1": {"method": "spcl", "epochs": 9}}, "first stage = spcl, 9 epochs"),
        ({}, {"stage1": {"method": "spcl", "epochs": 9, "source": "llcm"}}, "9 epochs, with llcm"),
        (
            {},
            {"stage1": {"method": "spcl", "epochs": 9, "recipe_sha256": "a1b2c3d4"}},
            "9 epochs, recipe a1b2c3",
        ),
    ],
)
def test_runs_that_differ_are_rows_that_say_how(
    made: Made, settings: dict[str, Any], origin: dict[str, Any], said: str
) -> None:
    part = only(content.read([made("a", {3: 0.4}), made("b", {3: 0.5}, settings=settings, origin=origin)]))
    first, second = part.rows
    assert said in second.apart
    assert first.apart
    assert first.apart != second.apart
    assert [row.number for row in part.rows] == [1, 2]


def test_methods_need_no_further_words(made: Made) -> None:
    runs = [made("a", {3: 0.4}), made("b", {3: 0.5}, settings={"method": {"name": "otla"}})]
    first, second = only(content.read(runs)).rows
    assert (first.title, second.title) == ("supervised", "otla (semi-supervised)")
    assert (first.facts["Persons known"], second.facts["Persons known"]) == ("all", "visible")


@pytest.mark.parametrize(
    ("protocol", "key"), [({"flip": "both"}, "flip"), ({"cmc": "image"}, "cmc"), ({"trials": [0]}, "trials")]
)
def test_another_protocol_is_another_table(made: Made, protocol: dict[str, Any], key: str) -> None:
    found = content.read([made("a", {3: 0.4}), made("b", {3: 0.5}, settings={"seed": 1}, **protocol)])
    assert len(found.parts) == 2
    assert f"their protocols differ ({key})" in found.warning
    assert "data" not in found.warning
    assert [part.rows[0].number for part in found.parts] == [1, 2]


@pytest.mark.parametrize(
    "origin", [{"train_images": 61}, {"train_files": "f2"}, {"dataset": "llcm"}, {"synthetic": True}]
)
def test_other_data_is_another_table(made: Made, origin: dict[str, Any]) -> None:
    settings = {"method": {"name": "danet"}}
    found = content.read([made("a", {3: 0.4}), made("b", {3: 0.5}, settings=settings, origin=origin)])
    assert len(found.parts) == 2
    assert "not trained and scored on the same data" in found.warning
    assert "protocols differ" not in found.warning


def test_other_queries_are_other_data(made: Made) -> None:
    def fewer(line: dict[str, Any]) -> None:
        if "evaluation" in line:
            line["evaluation"]["trials"][0]["n_query"] = 29

    found = content.read(
        [made("a", {3: 0.4}), made("b", {3: 0.5}, settings={"method": {"name": "danet"}}, lines=fewer)]
    )
    assert len(found.parts) == 2


def drawn(made: Made, method: str, people: int) -> Path:
    return made(
        f"{method}-{people}",
        {3: 0.3 + people / 10},
        settings={"seed": people, "method": {"name": method}},
        origin={"synthetic": True, "drawn_sha256": str(people)},
    )


def test_means_over_the_same_sets_of_drawn_people_share_a_table(made: Made) -> None:
    runs = [drawn(made, method, people) for method in ("supervised", "danet") for people in (1, 2)]
    part = only(content.read(runs))
    assert [row.runs for row in part.rows] == [("supervised-1", "supervised-2"), ("danet-1", "danet-2")]
    assert part.synthetic
    assert part.words[-1].startswith("2 sets of drawn people, the same for every row")


def test_a_mean_that_lacks_a_set_stands_apart(made: Made) -> None:
    runs = [drawn(made, "supervised", 1), drawn(made, "supervised", 2), drawn(made, "danet", 1)]
    found = content.read(runs)
    assert [len(part.rows) for part in found.parts] == [1, 1]
    assert "not trained and scored on the same data" in found.warning


def test_splits_of_regdb_are_put_together_as_published(made: Made) -> None:
    def split(method: str, number: int) -> Path:
        return made(
            f"{method}-{number}",
            {3: 0.4},
            settings={"data": {"trial": number}, "method": {"name": method}},
            origin={"dataset": "regdb", "train_files": f"split {number}"},
            trials=[number],
            words=f"regdb: visible ones ask; identity split {number} of 10, a model for each; ranks count images",
            name="regdb/vis2ir",
        )

    part = only(
        content.read([split(method, number) for method in ("supervised", "danet") for number in (2, 1)])
    )
    assert [len(row.runs) for row in part.rows] == [2, 2]
    assert part.words == (
        "Visible ones ask.",
        "Ranks count images.",
        "Identity splits 1, 2, a run for each; 60 training images.",
    )


def test_the_epoch_a_run_ends_with_is_told_not_its_best(made: Made) -> None:
    assert one(content.read([made("a", {1: 0.9, 3: 0.4})])).scores["Rank 1"].mean == 0.4


def test_a_choice_on_the_test_images_is_marked(made: Made) -> None:
    def choose(line: dict[str, Any]) -> None:
        line["selected"] = {
            "by": "rank1",
            "value": 0.5,
            "best": line["epoch"] <= 2,
            "note": "on the test set",
        }

    chosen = made("a", {1: 0.3, 2: 0.9, 3: 0.4}, settings={"select": "best_on_test"}, lines=choose)
    row = one(content.read([chosen]))
    assert row.scores["Rank 1"].mean == 0.9
    assert row.facts["Epochs"] == "2"
    assert row.facts["Weights"] == "best epoch on the test images"
    assert "chosen on the test images" in row.marks[0]


def test_the_same_recipe_with_another_choice_is_another_row(made: Made) -> None:
    runs = [made("a", {3: 0.4}), made("b", {3: 0.4}, settings={"seed": 1, "select": "best_on_test"})]
    assert [row.apart for row in only(content.read(runs)).rows] == ["select = last", "select = best_on_test"]


def test_the_best_of_other_epochs_is_another_row(made: Made) -> None:
    chosen = {"select": "best_on_test"}
    runs = [
        made("a", {3: 0.4}, settings={**chosen, "evaluate_every": 1}),
        made("b", {3: 0.4}, settings={**chosen, "evaluate_every": 3, "seed": 1}),
    ]
    assert [row.apart for row in only(content.read(runs)).rows] == [
        "evaluate_every = 1",
        "evaluate_every = 3",
    ]


def test_a_run_that_is_not_finished_is_marked(made: Made) -> None:
    folder = made("a", {1: 0.2, 2: 0.3, 3: 0.4})
    whole = (folder / checkpoint.METRICS).read_text().splitlines(keepends=True)
    (folder / checkpoint.METRICS).write_text("".join(whole[:2]))
    row = one(content.read([folder]))
    assert row.marks == ("not finished: a (2 of 3 epochs)",)
    assert row.scores["Rank 1"].mean == 0.3


def test_runs_without_scores_are_named(made: Made) -> None:
    begun = made("begun", {})
    (begun / checkpoint.METRICS).unlink()
    found = content.read([made("a", {3: 0.4}), made("early", {1: 0.5}), begun])
    assert found.left == {
        "early": "epoch 3, whose weights it ends with, was not evaluated; the last that was is epoch 1",
        "begun": "no epoch was finished yet",
    }
    assert len(only(found).rows) == 1


def test_a_run_in_its_first_stage_is_named(made: Made, tmp_path: Path) -> None:
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "stages.json").write_text("{}")
    found = content.read([made("a", {3: 0.4}), tmp_path / "between"])
    assert found.left == {"between": "its second stage has not begun"}


def test_nothing_to_compare_is_refused(made: Made) -> None:
    with pytest.raises(TrainingError, match=r"no run has scores to compare \(a: epoch 3"):
        content.read([made("a", {})])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no recipe\.json"):
        content.read([tmp_path])


def test_scores_without_a_curve_are_damaged(made: Made) -> None:
    run = made("a", {3: 0.4}, lines=lambda line: line.get("evaluation", {}).pop("cmc", None))
    with pytest.raises(TrainingError, match="hold no CMC curve"):
        content.read([run])


def test_a_run_named_twice_is_refused(made: Made) -> None:
    folder = made("a", {3: 0.4})
    with pytest.raises(TrainingError, match="named twice"):
        content.read([folder, folder.parent / "." / "a"])


def test_runs_of_one_name_are_told_apart(made: Made) -> None:
    runs = [made("x/run", {3: 0.4}), made("y/run", {3: 0.5}, settings={"seed": 1})]
    assert one(content.read(runs)).runs == ("x/run", "y/run")


def labelled(accuracy: dict[str, float], ari: float) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.update(labels={"accuracy": accuracy, "ari": ari, "sha256": str(line["epoch"])})


@pytest.mark.parametrize(("method", "expected"), [("otla", 0.2), ("spcl", 0.6)])
def test_labels_are_judged_where_the_truth_was_not_told(made: Made, method: str, expected: float) -> None:
    accuracy = {"visible": 1.0, "infrared": 0.2, "all": 0.6}
    run = made("a", {3: 0.4}, settings={"method": {"name": method}}, lines=labelled(accuracy, 0.5))
    labels = one(content.read([run])).labels
    assert labels["label accuracy"].mean == expected
    assert labels["label ARI"].mean == 0.5


def test_views_and_accumulation_are_told(made: Made) -> None:
    run = made("a", {3: 0.4}, settings={"accumulate": 2, "data": {"views": 2, "persons": 6, "images": 3}})
    assert one(content.read([run])).facts["Images of a step"] == (
        "6 x 3 of each modality, visible ones twice, 2 batches"
    )


def test_no_path_of_the_machine_is_told(made: Made, tmp_path: Path) -> None:
    part = only(content.read([made("a", {3: 0.4})]))
    assert str(tmp_path) not in repr(
        (part.title, part.words, part.rows, [dict(row.facts) for row in part.rows])
    )


def test_runs_of_one_seed_are_marked(made: Made) -> None:
    alike = [made("a", {3: 0.4}), made("b", {3: 0.4})]
    said = "some of its runs have one seed and the same data: its deviation is smaller than that of seeds"
    assert one(content.read(alike)).marks == (said,)
    assert one(content.read([alike[0], made("c", {3: 0.4}, settings={"seed": 5})])).marks == ()
