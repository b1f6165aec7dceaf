"""The histogram holds every pair, in panels by modalities."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Measured
from vireid.evaluation.pictures.histogram import histogram
from vireid.types import Modality

Run = Callable[..., tuple[Measured, Evidence]]


def test_each_pair_of_modalities_has_a_panel_with_all_its_pairs(run: Run) -> None:
    evidence = run()[1]
    picture = histogram(evidence)
    assert len(picture.axes) == len(evidence.histograms) == 4
    for axes, panel in zip(picture.axes, evidence.histograms, strict=True):
        assert axes.get_title(loc="left") == f"{panel.query.word} asks, {panel.gallery.word} is found"
        steps = [p for p in axes.patches if isinstance(p, StepPatch)]
        assert len(steps) == 4  # an area and an outline for each
        for step in steps:
            values, edges, _ = step.get_data()
            assert values.sum() == pytest.approx(1)
            assert edges[0] == axes.get_xlim()[0]
            assert (np.diff(edges) > 0).all()
        legend = axes.get_legend()
        assert legend is not None
        assert [t.get_text() for t in legend.get_texts()] == [
            f"different people: {panel.different.sum():,} pairs",
            f"same person: {panel.same.sum():,} pairs",
        ]
        outlines = [p for p in steps if not p.get_fill()]
        assert [bool(p.get_hatch()) for p in outlines] == [True, False]  # told apart without colour
    assert picture.axes[-1].get_xlabel().startswith("cosine similarity")


def test_the_bars_are_the_counts(run: Run) -> None:
    evidence = run()[1]
    panel = evidence.histograms[0]
    assert (panel.query, panel.gallery) == (Modality.VISIBLE, Modality.VISIBLE)
    steps = [p for p in histogram(evidence).axes[0].patches if isinstance(p, StepPatch)]
    values, edges, _ = steps[0].get_data()
    centres = (panel.edges[1:] + panel.edges[:-1]) / 2
    for value, low, high in zip(values, edges[:-1], edges[1:], strict=True):
        inside = panel.different[(centres > low) & (centres < high)].sum()
        assert value == pytest.approx(inside / panel.different.sum())
