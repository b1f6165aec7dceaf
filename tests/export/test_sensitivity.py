"""The search leaves out what harms most, as few as will do, and says so with numbers where nothing will do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import quantize, sensitivity
from export.bars import BARS, Bar
from export.calibration_images import CalibrationImages
from export.exam import Exam
from export.quantize import Quantiser
from export.sensitivity import Found
from export.trial import Score, Trial
from tests.export import small_graph


@contextmanager
def unseen(_what: str, _total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda _steps: None


@pytest.fixture(scope="module")
def calibration() -> CalibrationImages:
    images, modality, _ = small_graph.pictures(people=8, each=2)
    return CalibrationImages(images, modality)


@pytest.fixture(scope="module")
def exam() -> Exam:
    images, modality, person = small_graph.pictures(people=10, each=2, seed=5)
    return Exam(images, person, modality.copy(), modality)


@pytest.fixture(scope="module")
def quantiser(calibration: CalibrationImages) -> Quantiser:
    return quantize.prepare(small_graph.build(), "onnxruntime-int8", calibration)


def left_float(graph: bytes) -> set[str]:
    held = {tensor.name for tensor in onnx.load_from_string(graph).graph.initializer}
    return {name for name in small_graph.LAYERS if f"{name}.w" in held}


def run(quantiser: Quantiser, judge: Callable[[bytes], Score], harmful: dict[str, float]) -> Found:
    """Search with a made-up harm for each layer; the names of a graph tell which one it has rounded."""

    def harm_of(graph: bytes) -> float:
        (rounded,) = set(small_graph.LAYERS) - left_float(graph)
        return harmful.get(rounded, 1e-6)

    return sensitivity.search(quantiser, judge, BARS["int8"], harm_of, unseen)


def test_a_graph_that_meets_its_bar_costs_no_search(quantiser: Quantiser, exam: Exam) -> None:
    trial = Trial(small_graph.build(), exam.images, exam.modality)

    def harm_of(_graph: bytes) -> float:
        raise AssertionError("no layer needed to be tried alone")

    found = sensitivity.search(
        quantiser, lambda graph: trial.score(graph, exam), Bar(0.0, 0.985, 5.0), harm_of, unseen
    )
    assert found.met
    assert (found.kept, len(found.attempts), found.harm) == ((), 1, {})
    assert left_float(found.graph) == set()


@pytest.mark.parametrize("needed", [{"two"}, {"one", "two"}])
def test_the_fewest_layers_that_do_are_left_out(quantiser: Quantiser, needed: set[str]) -> None:
    def judge(graph: bytes) -> Score:
        return Score(0.99 if needed <= left_float(graph) else 0.9, 0.9, 0.0)

    found = run(quantiser, judge, {"two": 0.1, "one": 0.05})
    assert found.met
    assert {layer.name for layer in found.kept} == needed == left_float(found.graph)
    assert set(found.harm) == set(small_graph.LAYERS)


def test_the_most_harmful_is_left_out_first_whatever_work_it_does(quantiser: Quantiser) -> None:
    def judge(graph: bytes) -> Score:
        return Score(0.99 if left_float(graph) else 0.9, 0.9, 0.0)

    # the stem does three sixteenths of another's work
    found = run(quantiser, judge, {"stem": 0.05, "four": 0.1})
    assert [layer.name for layer in found.kept] == ["four"]


def test_a_bar_that_cannot_be_met_is_told_with_the_nearest_and_its_numbers(quantiser: Quantiser) -> None:
    def judge(graph: bytes) -> Score:
        return Score(0.9 + 0.01 * len(left_float(graph)), 0.5, -3.0)

    found = run(quantiser, judge, {})
    assert not found.met
    kept = [layer for layer in quantiser.layers if layer.name in left_float(found.graph)]
    assert kept
    assert quantiser.share(kept) <= sensitivity.MOST_KEPT
    assert "at least 0.985 is required" in found.misses[0]
    assert found.misses[1] == "mAP -3.00 points, at most 0.5 may be lost"


def test_one_channel_that_drowns_the_others_is_found_by_measurement(calibration: CalibrationImages) -> None:
    proto = onnx.load_from_string(small_graph.build())
    # 'three' is as loud as ever, and 'four' hardly listens to the loudest of its channels
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in {"three.w", "three.b"}:
            values[0] *= 1000
        elif tensor.name == "four.w":
            values[:, 0] /= 1000
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    source = proto.SerializeToString()
    quantiser = quantize.prepare(source, "onnxruntime-int8", calibration)
    trial = Trial(source, calibration.images, calibration.modality)
    harm = {layer.name: 1 - trial.cosine(quantiser.graph([layer])) for layer in quantiser.layers}
    worst = sorted(harm, key=lambda name: harm[name], reverse=True)
    assert set(worst[:2]) == {"three", "four"}

    def judge(graph: bytes) -> Score:
        return Score(trial.cosine(graph), 0.0, 0.0)

    found = sensitivity.search(quantiser, judge, BARS["int8"], lambda graph: 1 - trial.cosine(graph), unseen)
    assert found.attempts[0].score.cosine_mean < 0.985
    assert found.met
    assert {layer.name for layer in found.kept} >= {"three", "four"}


def test_a_score_that_is_no_number_is_worse_than_any(quantiser: Quantiser) -> None:
    bar = BARS["int8"]
    lost = Score(float("nan"), float("nan"), -100.0)
    assert len(lost.misses(bar)) == 3
    assert lost.shortfall(bar) > Score(0.5, 0.0, -50.0).shortfall(bar) > 0
    assert Score(0.99, 0.9, 0.3).shortfall(bar) < 0
    assert np.isfinite(Score(0.5, 0.0, -50.0).shortfall(bar))
