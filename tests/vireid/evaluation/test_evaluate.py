"""From features to a protocol's numbers, on datasets small enough to work out otherwise."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vireid.datasets import Dataset, open_dataset
from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation import evaluate as module
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.features import Features
from vireid.evaluation.metrics import Labels, scores
from vireid.evaluation.protocol import Protocol
from vireid.evaluation.protocols import cross_camera, llcm_search, regdb_split, sysu_mm01

Draw = Callable[..., Path]


def noise(dataset: Dataset, dim: int = 8) -> Features:
    rs = np.random.default_rng(7)
    return Features(
        rs.standard_normal((len(dataset.query), dim)), rs.standard_normal((len(dataset.gallery), dim))
    )


def truth(dataset: Dataset) -> Features:
    """Unit vectors that tell persons apart without fail."""
    eye = np.eye(1000, dtype=np.float32)
    return Features(eye[dataset.query.persons], eye[dataset.gallery.persons])


def labelled(dataset: Dataset, split: str) -> Labels:
    part = getattr(dataset, split)
    return Labels(part.persons, part.cameras)


@pytest.mark.parametrize("mode", ["all", "indoor"])
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_sysu_by_hand(mode: str, shots: int, sysu_tree: Draw) -> None:
    dataset = open_dataset("sysu-mm01", sysu_tree())
    features = noise(dataset)
    cameras = (1, 2, 4, 5) if mode == "all" else (1, 2)
    gallery = labelled(dataset, "gallery")
    result = evaluate(features, dataset, sysu_mm01(mode, shots))
    assert [t.number for t in result.trials] == list(range(10))
    for trial in result.trials:
        random.seed(trial.number)
        rows: list[int] = []
        for person in (6, 10, 21):
            for camera in cameras:
                here = np.flatnonzero((gallery.person == person) & (gallery.camera == camera)).tolist()
                if here:
                    rows += [random.choice(here)] if shots == 1 else random.sample(here, shots)
        want = scores(
            features.query @ features.gallery[rows].T,
            labelled(dataset, "query"),
            gallery.take(np.array(rows)),
            "sysu",
        )
        assert trial.n_gallery == len(rows)
        assert trial.scores.hits.tolist() == want.hits.tolist()
        assert trial.scores.mean_ap == pytest.approx(want.mean_ap, abs=1e-12)
        assert trial.scores.n_valid == want.n_valid
    assert result.trials[0].scores.n_valid == (15 if mode == "all" else 12)  # 21 was never indoors


def test_mean_and_spread(sysu_tree: Draw) -> None:
    dataset = open_dataset("sysu-mm01", sysu_tree())
    result = evaluate(noise(dataset), dataset, sysu_mm01())
    aps = [t.scores.mean_ap for t in result.trials]
    assert result.mean.mean_ap == pytest.approx(np.mean(aps))
    assert result.std.mean_ap == pytest.approx(np.std(aps, ddof=1))
    assert result.std.mean_ap > 0
    one = evaluate(noise(dataset), dataset, sysu_mm01(trials=1))
    assert (one.mean.mean_ap, one.std.mean_ap) == (aps[0], 0.0)


def protocols() -> list[tuple[str, Protocol]]:
    return [
        ("sysu", sysu_mm01()),
        ("sysu", sysu_mm01("indoor", shots=3)),
        ("regdb", regdb_split("visible-to-thermal")),
        ("regdb", regdb_split("thermal-to-visible", cmc="identity")),
        ("llcm", llcm_search("ir2vis")),
        ("llcm", llcm_search("vis2ir_v1")),
        ("llcm", llcm_search("vis2ir_v2")),
        ("folder", cross_camera()),
    ]


@pytest.mark.parametrize(
    ("tree", "protocol"), protocols(), ids=lambda v: v.name if isinstance(v, Protocol) else v
)
def test_perfect_features_score_one(tree: str, protocol: Protocol, request: pytest.FixtureRequest) -> None:
    dataset = open_dataset(protocol.dataset, request.getfixturevalue(f"{tree}_tree")())
    result = evaluate(truth(dataset), dataset, protocol)
    assert result.mean.mean_ap == 1.0
    assert result.mean.mean_inp == 1.0
    assert result.mean.cmc[0] == 1.0


@pytest.mark.parametrize(
    ("tree", "protocol"), protocols(), ids=lambda v: v.name if isinstance(v, Protocol) else v
)
def test_small_blocks_change_nothing(
    tree: str, protocol: Protocol, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(protocol.dataset, request.getfixturevalue(f"{tree}_tree")())
    # whole numbers: products are exact however they are grouped
    features = noise(dataset)
    features = Features(np.rint(9 * features.query), np.rint(9 * features.gallery))
    whole = evaluate(features, dataset, protocol)
    monkeypatch.setattr(module, "_BLOCK", 1)
    assert evaluate(features, dataset, protocol).to_json() == whole.to_json()


def test_llcm_directions_take_the_right_sides(llcm_tree: Draw) -> None:
    dataset = open_dataset("llcm", llcm_tree())
    sizes = {
        mode: {
            (t.scores.n_query, t.n_gallery)
            for t in evaluate(truth(dataset), dataset, llcm_search(mode)).trials
        }
        for mode in ("ir2vis", "vis2ir_v1", "vis2ir_v2")
    }
    assert sizes == {"ir2vis": {(8, 4)}, "vis2ir_v1": {(8, 4)}, "vis2ir_v2": {(4, 8)}}


def test_regdb_directions_are_each_others_transpose(regdb_tree: Draw) -> None:
    dataset = open_dataset("regdb", regdb_tree(), trial=2)
    features = noise(dataset)
    result = evaluate(features, dataset, regdb_split("visible-to-thermal", trial=2))
    want = scores(
        features.gallery @ features.query.T,
        labelled(dataset, "gallery"),
        labelled(dataset, "query"),
        "none",
        "image",
    )
    assert result.trials[0].scores.hits.tolist() == want.hits.tolist()
    assert result.trials[0].number == 2


def test_a_folder_of_one_modality_does_not_find_the_query_itself(folder_tree: Draw) -> None:
    root = folder_tree()
    for image in sorted((root / "infrared").rglob("*.png")):
        image.unlink()
    (root / "manifest.csv").write_text(
        "path,person,camera,modality\n"
        + "".join(
            f"visible/{p}/{name},{p},{camera},visible\n"
            for p in ("ada", "bob", "cyd")
            for camera, name in (("gate", "gate_0.png"), ("hall", "hall_1.png"))
        )
    )
    dataset = open_dataset("folder", root)
    vectors = np.eye(6)  # every image is like itself alone
    result = evaluate(Features(vectors, vectors), dataset, cross_camera())
    assert result.trials[0].scores.n_valid == 6
    assert result.mean.cmc[0] < 1.0


def test_json_is_json_and_says_how(sysu_tree: Draw) -> None:
    root = sysu_tree()
    (root / "synthetic.json").write_text("{}")
    dataset = open_dataset("sysu-mm01", root)
    content = json.loads(json.dumps(evaluate(truth(dataset), dataset, sysu_mm01("indoor", 2)).to_json()))
    assert content["synthetic"] is True
    assert content["protocol"] == {
        "name": "sysu-mm01/indoor/2-shot",
        "words": str(sysu_mm01("indoor", 2)),
        "preset": "",
        "changed": [],
        "dataset": "sysu-mm01",
        "mode": "indoor",
        "draw": "python-multi-shot",
        "drawn": "gallery",
        "shots": 2,
        "trials": list(range(10)),
        "query_cameras": [3, 6],
        "cameras": [1, 2],
        "rule": "sysu",
        "cmc": "identity",
        "flip": "none",
        "rerank": {"method": "none"},
    }
    assert content["mean"] == {"rank1": 1, "rank5": 1, "rank10": 1, "rank20": 1, "mAP": 1, "mINP": 1}
    assert len(content["trials"]) == 10
    assert content["trials"][3]["trial"] == 3
    assert (content["trials"][3]["n_query"], content["trials"][3]["n_valid"]) == (15, 12)


class TestRefusals:
    def test_the_protocol_of_another_dataset(self, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        with pytest.raises(EvaluationError, match=r"llcm/ir2vis is for llcm, not for sysu-mm01"):
            evaluate(truth(dataset), dataset, llcm_search())

    def test_the_protocol_of_another_identity_split(self, regdb_tree: Draw) -> None:
        dataset = open_dataset("regdb", regdb_tree(), trial=2)
        with pytest.raises(EvaluationError, match="read at identity split 2, the protocol asks for 1"):
            evaluate(truth(dataset), dataset, regdb_split())

    def test_features_that_do_not_fit(self, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        good = truth(dataset)
        with pytest.raises(
            EvaluationError, match=r"query features are \(14, 1000\); 15 images need \(15, D\)"
        ):
            evaluate(replace(good, query=good.query[1:]), dataset, sysu_mm01())
        with pytest.raises(EvaluationError, match="query features have 1000 dimensions, gallery features 9"):
            evaluate(replace(good, gallery=good.gallery[:, :9]), dataset, sysu_mm01())

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_features_that_are_no_numbers(self, bad: float, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        good = truth(dataset)
        good.gallery[4, 2] = bad
        with pytest.raises(
            EvaluationError, match=r"gallery features hold NaN or infinity, first for .*0006/0002\.jpg"
        ):
            evaluate(good, dataset, sysu_mm01())

    def test_more_shots_than_images(self, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        with pytest.raises(EvaluationError, match="identity 6 has 3 images in camera 1 and a draw of 10"):
            evaluate(truth(dataset), dataset, sysu_mm01(shots=10))

    def test_the_official_draw_without_its_file(self, sysu_tree: Draw) -> None:
        dataset = open_dataset("sysu-mm01", sysu_tree())
        with pytest.raises(DatasetError, match=r"rand_perm_cam\.mat is missing"):
            evaluate(truth(dataset), dataset, sysu_mm01(draw="official"))
