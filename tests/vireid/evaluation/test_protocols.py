"""Protocols by name, in words, and what they refuse."""

import pytest

from vireid.datasets import READERS
from vireid.errors import EvaluationError
from vireid.evaluation.protocols import (
    MODES,
    PROTOCOLS,
    choose,
    cross_camera,
    llcm_search,
    regdb_split,
    sysu_mm01,
)


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
            "gallery is drawn: 1 per person and camera, random.seed(trial), trials 0 to 9; camera 3 queries ignore "
            "every image of camera 2; ranks count persons",
        ),
        (
            sysu_mm01("indoor", shots=10, draw="official"),
            "sysu-mm01/indoor/multi: all infrared images ask, visible images of cameras 1, 2 are found; the "
            "gallery is drawn: 10 per person and camera, rand_perm_cam.mat, trials 1 to 10; camera 3 queries ignore "
            "every image of camera 2; ranks count persons",
        ),
        (
            regdb_split("thermal-to-visible", trial=4),
            "regdb/thermal-to-visible: all thermal images ask, all visible images are found; identity split 4; "
            "nothing is ignored; ranks count images",
        ),
        (
            llcm_search("vis2ir_v2", trials=1),
            "llcm/vis2ir_v2: near-infrared images ask, all visible images are found; the query is drawn: "
            "1 per person and camera, random.seed(trial), trial 0; a query ignores its own person's images in its "
            "own camera; ranks count persons",
        ),
        (
            cross_camera(),
            "folder/cross-camera: all query images ask, all gallery images are found; a query ignores its own "
            "person's images in its own camera; ranks count images",
        ),
    ],
)
def test_words(protocol: object, words: str) -> None:
    assert str(protocol) == words


def test_llcm_directions() -> None:
    assert [llcm_search(m).turned for m in MODES["llcm"]] == [False, True, False]
    assert [llcm_search(m).drawn for m in MODES["llcm"]] == ["gallery", "gallery", "query"]


def test_values_can_be_compared_and_not_changed() -> None:
    assert sysu_mm01() == sysu_mm01()
    assert len({sysu_mm01(), sysu_mm01(), sysu_mm01("indoor")}) == 2
    with pytest.raises(AttributeError):
        sysu_mm01().shots = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("market", {}, "dataset is one of sysu-mm01, regdb, llcm, folder, not 'market'"),
        ("sysu-mm01", {"mode": "outdoor"}, "mode is one of all, indoor, not 'outdoor'"),
        ("sysu-mm01", {"draw": "none"}, "draw is one of python, official, not 'none'"),
        ("sysu-mm01", {"draw": "official", "trials": 11}, "the official draw has 10 trials, not 11"),
        ("sysu-mm01", {"shots": 0}, "shots is at least 1, not 0"),
        ("sysu-mm01", {"trial": 3}, "sysu-mm01 have no trial; they take mode, shots, draw, trials"),
        ("regdb", {"trial": 11}, "identity splits 1 to 10, not 11"),
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
