"""The curves hold the numbers they claim to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure

from vireid.evaluation.det import det as curve
from vireid.evaluation.evidence import Evidence, TrialEvidence
from vireid.evaluation.measure import Measured
from vireid.evaluation.pictures.cmc import cmc
from vireid.evaluation.pictures.det import det
from vireid.evaluation.pictures.precision_recall import precision_recall

Run = Callable[..., tuple[Measured, Evidence]]


def words(picture: Figure) -> list[str]:
    """The legend."""
    legend = picture.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def band(picture: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest y of the band at each x."""
    (found,) = (c for c in picture.axes[0].collections if isinstance(c, FillBetweenPolyCollection))
    points = found.get_paths()[0].vertices
    xs = np.unique(points[:, 0])
    low = np.array([points[points[:, 0] == x, 1].min() for x in xs])
    high = np.array([points[points[:, 0] == x, 1].max() for x in xs])
    return low, high


def test_the_cmc_and_its_band(run: Run) -> None:
    result = run()[0].result
    picture = cmc(result)
    (line,) = picture.axes[0].lines
    shown = len(line.get_xdata())
    assert shown >= 20
    assert list(line.get_xdata()) == list(range(1, shown + 1))
    np.testing.assert_array_equal(line.get_ydata(), result.mean.cmc[:shown])
    assert (result.mean.cmc[shown - 1 :] == result.mean.cmc[-1]).all()  # what is left out is flat
    curves = np.array([t.scores.cmc for t in result.trials])
    low, high = band(picture)
    np.testing.assert_array_equal(low, curves.min(axis=0)[:shown])
    np.testing.assert_array_equal(high, curves.max(axis=0)[:shown])
    assert words(picture) == ["lowest to highest of 3 trials", "mean of 3 trials"]
    assert "counted in images" in picture.axes[0].get_xlabel()
    assert picture.axes[0].get_ylim()[0] == 0  # no cut axis


def test_one_trial_has_no_band(run: Run) -> None:
    measured, evidence = run(trials=1)
    for picture in (cmc(measured.result), precision_recall(evidence), det(evidence)):
        assert not picture.axes[0].collections
        assert words(picture)[0].startswith("trial 0")


def test_precision_over_recall_is_steps(run: Run) -> None:
    measured, evidence = run()
    picture = precision_recall(evidence)
    (line,) = picture.axes[0].lines
    assert line.get_drawstyle() == "steps-pre"
    recall, precision = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert recall[0] == 0
    assert recall[-1] == 1
    area = float(np.diff(recall) @ precision[1:])
    assert area == pytest.approx(measured.result.mean.mean_ap, abs=1e-12)
    assert words(picture)[1] == f"mean of 3 trials, area {100 * measured.result.mean.mean_ap:.2f} % = mAP"


def test_many_steps_are_thinned(run: Run) -> None:
    evidence = run()[1]
    ends = np.arange(1, 5001) / 5000
    trial = replace(
        evidence.trials[0], curve=replace(evidence.trials[0].curve, recall=ends, precision=1 - ends / 2)
    )
    (line,) = precision_recall(replace(evidence, trials=(trial,))).axes[0].lines
    assert len(line.get_xdata()) == 401
    np.testing.assert_allclose(line.get_ydata()[1:], 1 - np.asarray(line.get_xdata()[1:]) / 2, atol=1e-3)


def test_the_det_curve(run: Run) -> None:
    evidence = run()[1]
    picture = det(evidence)
    axes = picture.axes[0]
    (line,) = axes.lines
    assert line.get_drawstyle() == "steps-post"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    fpir = np.asarray(line.get_xdata())
    mean = np.mean([t.det.at(fpir) for t in evidence.trials], axis=0)
    above = mean > axes.get_ylim()[0]
    assert above.sum() > 5
    np.testing.assert_allclose(np.asarray(line.get_ydata())[above], mean[above])
    fewest = min(t.det.nonmated for t in evidence.trials)
    assert axes.get_xlim() == (1 / fewest, 1)
    assert "non-mated" in axes.get_xlabel()


def searches(match: list[float], other: list[float]) -> TrialEvidence:
    from vireid.evaluation.precision_recall import PrecisionRecall

    whole = PrecisionRecall(np.array([1.0]), np.array([1.0]))
    named = np.ones(len(other), dtype=np.bool_)
    return TrialEvidence(0, 9, named, np.array(match), np.array(other), np.ones(len(match)), whole)


@pytest.mark.parametrize(
    ("match", "other"),
    [
        ([0.9, 0.8], [0.1, 0.2]),  # nobody is ever missed
        ([0.1, 0.2], [0.9, 0.8]),  # everybody always is
        ([0.5], [0.4]),  # one search
        ([0.5, 0.6], [-np.inf, -np.inf]),  # nobody else is there
    ],
)
def test_det_curves_at_the_ends_of_what_can_be(match: list[float], other: list[float], run: Run) -> None:
    evidence = replace(run()[1], trials=(searches(match, other),))
    assert curve(np.array(match), np.array(other)).mated == len(match)
    axes = det(evidence).axes[0]
    low, high = axes.get_ylim()
    assert 0 < low < high
    assert axes.get_xlim()[0] < axes.get_xlim()[1]


def test_long_det_curves_are_thinned(run: Run) -> None:
    random = np.random.default_rng(0)
    trial = searches(random.normal(2, 1, 4000).tolist(), random.normal(0, 1, 4000).tolist())
    (line,) = det(replace(run()[1], trials=(trial,))).axes[0].lines
    assert len(line.get_xdata()) == 300
