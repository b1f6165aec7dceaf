"""Twenty small problems on which published evaluators disagree, crash or answer nonsense; ours is named for each.

One rule, stable ties, only valid queries counted, ranks beyond the last person keep the last value, no valid
query and NaN are refused. The answers under the Market rule were made with camera 3 renamed to camera 2, the
room both stand in.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vireid.errors import EvaluationError
from vireid.evaluation.metrics import CmcLevel, Labels, Rule, Scores, scores

RANKS = (1, 5, 10, 20)
# answer -> rule and level
QUESTIONS: dict[str, tuple[Rule, CmcLevel]] = {
    "sysu": ("sysu", "identity"),
    "llcm": ("market", "identity"),
    "market": ("market", "image"),
}
REFUSED = {"E3_no_valid_query": "none of the 1 queries has a match", "E9_nan_distance": "NaN similarities"}
ANSWERED = (
    "T1_all_equal_40",
    "T1b_all_equal_17",
    "T2_tie_pos_neg_pos_first",
    "T3_tie_pos_neg_neg_first",
    "E1_absent_identity",
    "E2_only_match_excluded",
    "E4_single_identity",
    "E5_small_gallery",
    "E6_many_images_few_ids",
    "E7_ragged_identity_count",
    "E8_one_identity_left",
    "E10_inf_distance",
    "E12_short_after_same_cam_removal",
    "E13_float32_collapse",
    "E14_pid_minus_one",
    "E15_market_rule_vs_sysu_rule",
    "T4_quantised_200",
    "E16_all_same_scores_two_ids_50",
)


@pytest.fixture(scope="module")
def edges(golden_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((golden_dir / "golden_edges.json").read_text())
    return content


def ask(case: dict[str, Any], question: str, kind: type = np.float64) -> Scores:
    rule, level = QUESTIONS[question]
    camera = np.array(case["q_camids"])
    camera = np.where(camera == 3, 2, camera) if rule == "market" else camera
    query = Labels(np.array(case["q_pids"]), camera)
    gallery = Labels(np.array(case["g_pids"]), np.array(case["g_camids"]))
    return scores(-np.array(case["dist"], dtype=kind), query, gallery, rule, level)


def test_there_are_no_others(edges: dict[str, Any]) -> None:
    assert set(edges) == {*ANSWERED, *REFUSED}
    assert len(edges) == 20


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", ANSWERED)
def test_answered(name: str, question: str, edges: dict[str, Any]) -> None:
    want = edges[name]["results"][f"my_reference_{question}"]
    found = ask(edges[name], question)
    assert found.n_valid == want["n_valid"]
    assert [int(found.hits[r - 1]) for r in RANKS] == want["hits"]
    assert [found.rank(r) for r in RANKS] == want["cmc"]
    assert found.mean_ap == pytest.approx(want["mAP"], abs=1e-12)
    assert found.mean_inp == pytest.approx(want["mINP"], abs=1e-12)
    assert (np.diff(found.cmc) >= 0).all()  # nobody's stale places are counted


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, question: str, edges: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match=REFUSED[name]):
        ask(edges[name], question)


@pytest.mark.parametrize("name", ANSWERED)
def test_the_official_code_agrees(name: str, edges: dict[str, Any]) -> None:
    # E12 puts the query's own camera into the gallery, which SYSU-MM01 never does: the official code drops all
    # of that camera, which there are none but the person's own images, as the Market rule says
    question = "llcm" if name == "E12_short_after_same_cam_removal" else "sysu"
    want = edges[name]["results"]["matlab_official"]
    found = ask(edges[name], question)
    assert found.mean_ap == pytest.approx(want["mAP"], abs=1e-12)
    assert [found.rank(r) for r in RANKS] == pytest.approx([at(want["cmc"], r) for r in RANKS], abs=1e-12)


def at(curve: list[float], rank: int) -> float:
    return curve[min(rank, len(curve)) - 1]


class TestWhatEachOneShows:
    """The point of the cases that have one, said again in numbers."""

    def test_of_equal_scores_the_first_in_the_gallery_is_first(self, edges: dict[str, Any]) -> None:
        assert ask(edges["T1b_all_equal_17"], "sysu").mean_ap == 1.0  # the match is stored first
        assert ask(edges["T1_all_equal_40"], "sysu").mean_ap == pytest.approx((1 / 6 + 2 / 21 + 3 / 40) / 3)
        match_first = ask(edges["T2_tie_pos_neg_pos_first"], "sysu")
        other_first = ask(edges["T3_tie_pos_neg_neg_first"], "sysu")
        assert match_first.mean_ap > other_first.mean_ap

    def test_queries_without_a_match_are_in_no_denominator(self, edges: dict[str, Any]) -> None:
        for name in ("E1_absent_identity", "E2_only_match_excluded"):
            found = ask(edges[name], "sysu")
            assert (found.n_query, found.n_valid) == (2, 1)

    def test_curves_go_on_beyond_the_last_person(self, edges: dict[str, Any]) -> None:
        for name in ("E4_single_identity", "E5_small_gallery", "E8_one_identity_left"):
            found = ask(edges[name], "sysu")
            assert len(found.cmc) == 50
            assert found.rank(20) == found.cmc[-1] == 1.0

    def test_infinite_distances_are_last_and_tie_in_gallery_order(self, edges: dict[str, Any]) -> None:
        assert ask(edges["E10_inf_distance"], "market").queries.first.tolist() == [3]

    def test_precision_is_kept_as_given(self, edges: dict[str, Any]) -> None:
        assert ask(edges["E13_float32_collapse"], "sysu").queries.first.tolist() == [2]
        assert ask(edges["E13_float32_collapse"], "sysu", np.float32).queries.first.tolist() == [1]

    def test_an_unknown_person_takes_a_place(self, edges: dict[str, Any]) -> None:
        assert ask(edges["E14_pid_minus_one"], "sysu").queries.first.tolist() == [2]

    def test_the_rules_differ(self, edges: dict[str, Any]) -> None:
        case = edges["E15_market_rule_vs_sysu_rule"]
        assert [ask(case, q).queries.first.tolist() for q in QUESTIONS] == [[1], [2], [2]]
