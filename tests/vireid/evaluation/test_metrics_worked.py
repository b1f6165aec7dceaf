"""Metrics of five images, worked by hand, and what metrics refuse."""

import numpy as np
import pytest

from vireid.errors import EvaluationError
from vireid.evaluation.metrics import CmcLevel, Labels, Rule, scores

RULES: tuple[Rule, ...] = ("sysu", "market", "none")
LEVELS: tuple[CmcLevel, ...] = ("identity", "image")


def labels(*pairs: tuple[int, int]) -> Labels:
    return Labels(
        np.array([p for p, _ in pairs], dtype=np.int64), np.array([c for _, c in pairs], dtype=np.int64)
    )


# five gallery images, best first: persons 2, 2, 1, 3, 1
FIVE = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
FIVE_GALLERY = labels((2, 1), (2, 2), (1, 1), (3, 4), (1, 2))


class TestFiveImages:
    def test_person_one_by_persons(self) -> None:
        found = scores(FIVE, labels((1, 6)), FIVE_GALLERY)
        assert found.cmc[:4].tolist() == [0, 1, 1, 1]  # person 2, then person 1
        assert found.mean_ap == pytest.approx((1 / 3 + 2 / 5) / 2)
        assert found.mean_inp == pytest.approx(2 / 5)
        assert (found.n_query, found.n_valid) == (1, 1)

    def test_person_one_by_images(self) -> None:
        found = scores(FIVE, labels((1, 6)), FIVE_GALLERY, cmc="image")
        assert found.cmc[:4].tolist() == [0, 0, 1, 1]
        assert found.mean_ap == pytest.approx((1 / 3 + 2 / 5) / 2)

    def test_camera_3_does_not_see_camera_2(self) -> None:
        # left: 2 (cam 1), 1 (cam 1), 3 (cam 4)
        found = scores(FIVE, labels((1, 3)), FIVE_GALLERY, rule="sysu")
        assert found.cmc[:3].tolist() == [0, 1, 1]
        assert (found.mean_ap, found.mean_inp) == (0.5, 0.5)
        assert scores(FIVE, labels((1, 6)), FIVE_GALLERY, rule="sysu").mean_inp == pytest.approx(2 / 5)

    def test_market_hides_the_own_person_in_the_own_camera_only(self) -> None:
        # left: 2, 2 (cam 2, another person), 3, 1 (cam 2)
        found = scores(FIVE, labels((1, 1)), FIVE_GALLERY, rule="market", cmc="image")
        assert found.cmc[:5].tolist() == [0, 0, 0, 1, 1]
        assert (found.mean_ap, found.mean_inp) == (0.25, 0.25)

    def test_ties_keep_the_gallery_order(self) -> None:
        flat = np.zeros((1, 5))
        found = scores(flat, labels((3, 6)), FIVE_GALLERY)
        assert found.queries.first.tolist() == [3]
        assert found.mean_ap == 0.25
        backwards = Labels(FIVE_GALLERY.person[::-1], FIVE_GALLERY.camera[::-1])
        assert scores(flat, labels((3, 6)), backwards).mean_ap == 0.5

    def test_a_query_without_a_match_is_left_out(self) -> None:
        two = scores(np.vstack([FIVE, FIVE]), labels((2, 6), (9, 6)), FIVE_GALLERY)
        assert (two.n_query, two.n_valid) == (2, 1)
        assert two.mean_ap == 1.0
        assert two.queries.valid.tolist() == [True, False]
        assert two.queries.first.tolist() == [1, 0]

    def test_unknown_persons_never_match(self) -> None:
        gallery = labels((-1, 1), (1, 1))
        similarity = np.array([[0.9, 0.1], [0.9, 0.1]])
        found = scores(similarity, labels((-1, 6), (1, 6)), gallery)
        assert found.queries.first.tolist() == [0, 2]  # still somebody who stands before person 1

    def test_ranks_beyond_the_persons_keep_the_last_value(self) -> None:
        found = scores(FIVE, labels((3, 6)), FIVE_GALLERY, ranks=20)
        assert len(found.cmc) == 20
        assert found.cmc[2:].tolist() == [1.0] * 18
        assert found.rank(3) == found.rank(500) == 1.0
        assert found.rank(2) == 0.0

    def test_ranks_short_of_the_match(self) -> None:
        found = scores(FIVE, labels((3, 6)), FIVE_GALLERY, cmc="image", ranks=3)
        assert found.hits.tolist() == [0, 0, 0]
        assert found.n_valid == 1

    def test_infinite_similarities_are_ranked(self) -> None:
        similarity = np.array([[-np.inf, np.inf, 0.0, -np.inf, 1.0]])
        assert scores(similarity, labels((3, 6)), FIVE_GALLERY, cmc="image").queries.first.tolist() == [5]


class TestRefusals:
    def test_nan(self) -> None:
        with pytest.raises(EvaluationError, match=r"1 queries have NaN similarities \(the first is row 1\)"):
            scores(np.array([[0.0] * 5, [0, np.nan, 0, 0, 0]]), labels((1, 1), (2, 1)), FIVE_GALLERY)

    def test_no_valid_query(self) -> None:
        with pytest.raises(EvaluationError, match="none of the 1 queries has a match"):
            scores(FIVE, labels((9, 1)), FIVE_GALLERY)

    def test_no_query_and_no_gallery(self) -> None:
        with pytest.raises(EvaluationError, match="none of the 0 queries"):
            scores(np.zeros((0, 5)), labels(), FIVE_GALLERY)
        with pytest.raises(EvaluationError, match="none of the 1 queries"):
            scores(np.zeros((1, 0)), labels((1, 1)), labels())

    def test_shapes(self) -> None:
        with pytest.raises(
            EvaluationError, match=r"is \(1, 5\); 2 queries and 5 gallery images need \(2, 5\)"
        ):
            scores(FIVE, labels((1, 1), (2, 1)), FIVE_GALLERY)
        with pytest.raises(EvaluationError, match=r"got shapes \(2,\) and \(1,\)"):
            Labels(np.array([1, 2]), np.array([1]))

    def test_integers(self) -> None:
        with pytest.raises(EvaluationError, match="floating point, not int64"):
            scores(np.ones((1, 5), dtype=np.int64), labels((1, 1)), FIVE_GALLERY)  # type: ignore[arg-type]

    def test_unknown_words(self) -> None:
        with pytest.raises(EvaluationError, match="one of sysu, market, none, not 'duke'"):
            scores(FIVE, labels((1, 1)), FIVE_GALLERY, rule="duke")  # type: ignore[arg-type]
        with pytest.raises(EvaluationError, match="one of identity, image, not 'person'"):
            scores(FIVE, labels((1, 1)), FIVE_GALLERY, cmc="person")  # type: ignore[arg-type]
