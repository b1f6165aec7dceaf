"""Protocols by name, in words, and what they refuse."""

from dataclasses import replace

import pytest

from vireid.datasets import READERS
from vireid.errors import EvaluationError
from vireid.evaluation.protocol import Protocol, Rerank
from vireid.evaluation.protocols import (
    MODES,
    PRESETS,
    PROTOCOLS,
    choose,
    cross_camera,
    llcm_search,
    preset,
    regdb_split,
    sysu_mm01,
)

ALONE = "each image is embedded once; nothing is re-ranked"


def test_every_dataset_has_protocols_and_every_mode_works() -> None:
    assert list(PROTOCOLS) == list(MODES) == list(READERS)
    for dataset, modes in MODES.items():
        for mode in modes:
            assert choose(dataset, mode=mode).name.startswith(f"{dataset}/{mode}")
        assert choose(dataset) == choose(dataset, mode=modes[0])


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (
            sysu_mm01(),
            "sysu-mm01/all/single: all infrared images ask, visible images of cameras 1, 2, 4, 5 are found; the "
            "gallery is drawn: 1 per person and camera, random.seed(trial) and random.choice, trials 0 to 9; "
            f"camera 3 queries ignore every image of camera 2; ranks count persons; {ALONE}",
        ),
        (
            preset("sysu-mm01/official", mode="indoor", shots=10),
            "sysu-mm01/indoor/multi: all infrared images ask, visible images of cameras 1, 2 are found; the "
            "gallery is drawn: 10 per person and camera, rand_perm_cam.mat, trials 1 to 10; camera 3 queries ignore "
            f"every image of camera 2; ranks count persons; {ALONE}; preset sysu-mm01/official, but mode indoor, "
            "shots 10",
        ),
        (
            preset("sysu-mm01/agw", shots=10, trials=1, flip="average", rerank=Rerank(candidates=50)),
            "sysu-mm01/all/multi: all infrared images ask, visible images of cameras 1, 2, 4, 5 are found; the "
            "gallery is drawn: 10 per person and camera, random.seed(trial) and random.sample, trial 0; camera 3 "
            "queries ignore every image of camera 2; ranks count persons; features are averaged with those of the "
            "mirrored image; the first 50 candidates are re-ranked by k-reciprocal neighbours (k1 20, k2 6, weight "
            "0.3); preset sysu-mm01/agw, but shots 10, trials 1, flip average, rerank k-reciprocal",
        ),
        (
            preset("regdb", mode="thermal-to-visible", trial=4),
            "regdb/thermal-to-visible: all thermal images ask, all visible images are found; identity split 4 of 10, "
            f"a model for each; nothing is ignored; ranks count images; {ALONE}; preset regdb, but mode "
            "thermal-to-visible",
        ),
        (
            preset("regdb", trial=0, cmc="identity"),
            "regdb/visible-to-thermal: all visible images ask, all thermal images are found; identity splits 1 to 10 "
            f"of 10, a model for each; nothing is ignored; ranks count persons; {ALONE}; preset regdb, but cmc "
            "identity",
        ),
        (
            preset("llcm/v2", trials=1),
            "llcm/vis2ir_v2: near-infrared images ask, all visible images are found; the query is drawn: "
            "1 per person and camera, random.seed(trial) and random.choice, trial 0; a query ignores its own "
            f"person's images in its own camera; ranks count persons; {ALONE}; preset llcm/v2, but trials 1",
        ),
        (
            cross_camera(),
            "folder/cross-camera: all query images ask, all gallery images are found; nothing is drawn; a query "
            f"ignores its own person's images in its own camera; ranks count images; {ALONE}",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Protocol) else "",
)
def test_words(protocol: Protocol, words: str) -> None:
    assert str(protocol) == words
    assert protocol.to_json()["words"] == words


def test_presets_are_the_literatures_choices() -> None:
    choices = {
        name: {
            key: preset(name).to_json()[key]
            for key in ("mode", "draw", "drawn", "shots", "trials", "rule", "cmc", "flip", "rerank")
        }
        for name in PRESETS
    }
    plain = {"flip": "none", "rerank": {"method": "none"}}
    ten = list(range(10))
    sysu = {"mode": "all", "drawn": "gallery", "shots": 1, "rule": "sysu", "cmc": "identity"} | plain
    llcm = {
        "draw": "python",
        "drawn": "gallery",
        "shots": 1,
        "trials": ten,
        "rule": "market",
        "cmc": "identity",
    }
    undrawn = {"draw": "none", "drawn": "", "shots": 0, "cmc": "image"}
    assert choices == {
        "sysu-mm01/agw": {**sysu, "draw": "python", "trials": ten},
        "sysu-mm01/official": {**sysu, "draw": "official", "trials": [t + 1 for t in ten]},
        "regdb": {"mode": "visible-to-thermal", **undrawn, "trials": [1], "rule": "none", **plain},
        "llcm/ir2vis": {"mode": "ir2vis", **llcm, **plain},
        "llcm/v1": {"mode": "vis2ir_v1", **llcm, **plain},
        "llcm/v2": {"mode": "vis2ir_v2", **llcm, **plain, "drawn": "query"},
        "folder": {"mode": "cross-camera", **undrawn, "trials": [0], "rule": "market", **plain},
    }


@pytest.mark.parametrize(
    ("dataset", "options", "name", "changed"),
    [
        ("sysu-mm01", {}, "sysu-mm01/agw", ()),
        ("sysu-mm01", {"draw": "official"}, "sysu-mm01/official", ()),
        ("sysu-mm01", {"draw": "official", "trials": 2}, "sysu-mm01/official", ("trials 2",)),
        ("sysu-mm01", {"trials": 11}, "sysu-mm01/agw", ("trials 11",)),
        ("sysu-mm01", {"rule": "none"}, "sysu-mm01/agw", ("rule none",)),
        ("regdb", {"trial": 7}, "regdb", ()),
        ("llcm", {}, "llcm/ir2vis", ()),
        ("llcm", {"mode": "vis2ir_v1"}, "llcm/v1", ()),
        ("llcm", {"mode": "vis2ir_v2", "cmc": "image"}, "llcm/v2", ("cmc image",)),
    ],
)
def test_the_preset_that_was_meant_is_named(
    dataset: str, options: dict[str, str | int], name: str, changed: tuple[str, ...]
) -> None:
    chosen = choose(dataset, **options)
    assert (chosen.preset, chosen.changed) == (name, changed)
    assert chosen == preset(name, **options)


def test_the_python_draw_of_several_has_a_name_of_its_own() -> None:
    assert sysu_mm01().draw == "python"
    assert sysu_mm01(shots=10).draw == "python-multi-shot"
    assert sysu_mm01(shots=1, draw="python-multi-shot").draw == "python-multi-shot"
    assert sysu_mm01(shots=10, draw="official").draw == "official"


def test_llcm_directions() -> None:
    assert [llcm_search(m).turned for m in MODES["llcm"]] == [False, True, False]
    assert [llcm_search(m).drawn for m in MODES["llcm"]] == ["gallery", "gallery", "query"]


def test_values_can_be_compared_and_not_changed() -> None:
    assert sysu_mm01() == sysu_mm01()
    assert len({sysu_mm01(), sysu_mm01(), sysu_mm01("indoor"), replace(sysu_mm01(), rerank=Rerank())}) == 3
    with pytest.raises(AttributeError):
        sysu_mm01().shots = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("market", {}, "dataset is one of sysu-mm01, regdb, llcm, folder, not 'market'"),
        ("sysu-mm01", {"mode": "outdoor"}, "mode is one of all, indoor, not 'outdoor'"),
        (
            "sysu-mm01",
            {"draw": "none"},
            "draw is one of python, python-multi-shot, official, not 'none'",
        ),
        ("sysu-mm01", {"draw": "official", "trials": 11}, "the official draw has 10 trials, not 11"),
        ("sysu-mm01", {"shots": 0}, "shots is at least 1, not 0"),
        (
            "sysu-mm01",
            {"trial": 3},
            "sysu-mm01 have no trial; they take mode, shots, draw, trials, rule, cmc, flip",
        ),
        ("sysu-mm01", {"rule": "duke"}, "rule is one of sysu, market, none, not 'duke'"),
        ("sysu-mm01", {"flip": "both"}, "flip is one of none, average, given, not 'both'"),
        ("regdb", {"trial": 11}, r"identity splits 1 to 10 \(0 for all\), not 11"),
        ("regdb", {"trial": -1}, r"identity splits 1 to 10 \(0 for all\), not -1"),
        ("regdb", {"cmc": "persons"}, "cmc is one of identity, image, not 'persons'"),
        ("regdb", {"mode": "all"}, "mode is one of visible-to-thermal, thermal-to-visible, not 'all'"),
        ("llcm", {"mode": "vis2ir"}, "mode is one of ir2vis, vis2ir_v1, vis2ir_v2, not 'vis2ir'"),
        ("llcm", {"trials": -1}, "trials is at least 1, not -1"),
        ("llcm", {"shots": 10, "draw": "python"}, "llcm have no shots, draw; they take mode, trials"),
        ("folder", {"mode": "all"}, "mode is one of cross-camera, not 'all'"),
    ],
)
def test_refusals(dataset: str, options: dict[str, str | int], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        choose(dataset, **options)


def test_an_unknown_preset() -> None:
    with pytest.raises(EvaluationError, match=r"protocol is one of sysu-mm01/agw, .*, not 'sysu'"):
        preset("sysu")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"k1": 0}, "1 <= k2 <= k1; found k1 0"),
        ({"k1": 3, "k2": 4}, "found k1 3 and k2 4"),
        ({"weight": 1.1}, "weighs from 0 to 1, not 1.1"),
        ({"candidates": -1}, "at least 1 candidate, or 0 for all, not -1"),
    ],
)
def test_re_ranking_out_of_range(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        Rerank(**numbers)  # type: ignore[arg-type]


def test_one_split_of_regdb_or_all() -> None:
    assert regdb_split(trial=3).trials == (3,)
    assert regdb_split(trial=0).trials == tuple(range(1, 11))
