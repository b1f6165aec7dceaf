"""The pictures of a run: what they draw, and that their words are words."""

import numpy as np
import pytest

from training.report.history import Series
from training.report.pictures.class_sizes import class_sizes
from training.report.pictures.curves import Line, curves
from training.report.pictures.scatter import PERSONS, Plane, by_modality, by_person
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.inline import inline

ONE = Line("one", Series((1, 2, 3), (0.5, 0.25, 0.75)))
TWO = Line("two", Series((2, 3), (0.1, 0.9)), style.SECOND, "--", "s")


def test_curves_hold_their_numbers_and_several_have_a_legend() -> None:
    (axes,) = curves([ONE, TWO], "share").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"one": [[1, 0.5], [2, 0.25], [3, 0.75]], "two": [[2, 0.1], [3, 0.9]]}
    assert len(curves([ONE, TWO], "share").legends) == 1
    assert not curves([ONE], "share").legends
    assert axes.get_ylim()[0] == 0


def test_shares_are_told_in_percent_of_all() -> None:
    (axes,) = curves([ONE], "share", scale="shares").axes
    assert axes.get_ylim() == (-0.02, 1.02)
    assert axes.yaxis.get_major_formatter()(0.25, None) == "25"


@pytest.mark.parametrize(
    ("values", "scale"),
    [((1e-5, 1.0), "log"), ((0.5, 1.0), "linear"), ((0.0, 1.0), "linear"), ((-1.0, 1.0), "linear")],
)
def test_powers_of_ten_are_for_wide_ranges_only(values: tuple[float, float], scale: str) -> None:
    line = Line("one", Series((1, 2), values))
    made = curves([line], "loss", scale="wide", small=True)
    assert made.axes[0].get_yscale() == scale
    assert curves([line], "loss").axes[0].get_yscale() == "linear"
    assert "mathdefault" not in style.svg(made)  # numbers, not TeX


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_one_epoch_is_a_picture_too(value: float) -> None:
    line = Line("one", Series((1,), (value,)))
    low, high = curves([line], "loss").axes[0].get_ylim()
    assert low <= value <= high
    assert low < high


def test_classes_stand_the_largest_first() -> None:
    made = class_sizes({"with": np.array([1, 3, 2]), "without": np.array([6, 0, 0])})
    (axes,) = made.axes
    steps = [patch for patch in axes.patches if patch.get_label() in {"with", "without"}]
    assert [patch.get_data().values.tolist() for patch in steps] == [[3, 2, 1], [6, 0, 0]]
    assert axes.get_ylim()[1] > 6
    assert axes.get_xlim() == (0.5, 3.5)
    assert class_sizes({"none": np.array([0, 0])}).axes[0].get_ylim()[1] > 0


@pytest.fixture
def plane() -> Plane:
    points = np.random.default_rng(0).standard_normal((40, 2))
    return Plane(points, np.arange(40) % 2, np.arange(40) // 4, ("first", "second"))


def test_modalities_differ_in_colour_and_mark(plane: Plane) -> None:
    visible, infrared = by_modality(plane).axes[0].lines
    assert visible.get_color() != infrared.get_color()
    assert visible.get_marker() != infrared.get_marker()
    assert visible.get_xydata() == pytest.approx(plane.points[::2])
    assert infrared.get_xydata() == pytest.approx(plane.points[1::2])


def test_persons_get_a_colour_and_the_others_none(plane: Plane) -> None:
    made = by_person(plane, np.array([2, 5]))
    lines = made.axes[0].lines
    assert [line.get_color() for line in lines] == [style.FAINT] * 2 + [PERSONS[0]] * 2 + [PERSONS[1]] * 2
    assert lines[2].get_xydata() == pytest.approx(plane.points[[8, 10]])
    assert lines[3].get_xydata() == pytest.approx(plane.points[[9, 11]])
    (legend,) = made.legends
    assert [text.get_text() for text in legend.get_texts()] == ["person 2", "person 5"]


def test_persons_keep_their_colours_where_the_page_changes_its_own(plane: Plane) -> None:
    svg = inline(by_person(plane, np.arange(8)), "plane", "points")
    for colour in PERSONS:
        assert colour in svg
    assert style.FAINT not in svg
    assert "var(--dim)" in svg
