"""The search leaves out what harms most: what is needed, and what costs no speed; or tells how near it came."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NoReturn

import onnx
import pytest
from onnx import helper, numpy_helper

from export import quantize, sensitivity
from export.bars import BARS
from export.calibration_images import CalibrationImages
from export.exam import Exam
from export.layers import Layer
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


def run(
    quantiser: Quantiser,
    cosine_of: Callable[[bytes], float],
    harmful: dict[str, float],
    cost: Callable[[int], float] = float,
) -> Found:
    """Search with a made-up harm for each layer, and a made-up cost for so many layers in fp32."""

    def harm_of(graph: bytes) -> float:
        # the names of a graph tell which layer it has rounded
        (rounded,) = set(small_graph.LAYERS) - left_float(graph)
        return harmful.get(rounded, 1e-6)

    def costs(choices: Sequence[Collection[Layer]]) -> list[float]:
        return [cost(len(quantiser.layers) - len(one)) for one in choices]

    return sensitivity.search(quantiser, cosine_of, 0.985, harm_of, costs, unseen)


def test_a_graph_that_is_near_enough_costs_no_search(quantiser: Quantiser, exam: Exam) -> None:
    trial = Trial(small_graph.build(), exam.images, exam.modality)

    def never(_what: object) -> NoReturn:
        raise AssertionError("no layer needed to be tried alone, and nothing to be timed")

    found = sensitivity.search(quantiser, trial.cosine, 0.985, never, never, unseen)
    assert found.cosine >= 0.985
    assert (found.kept, len(found.attempts), found.harm) == ((), 1, {})
    assert left_float(found.graph) == set()


@pytest.mark.parametrize("needed", [{"two"}, {"one", "two"}])
def test_the_fewest_layers_that_do_are_left_out_where_each_costs_speed(
    quantiser: Quantiser, needed: set[str]
) -> None:
    found = run(
        quantiser, lambda graph: 0.99 if needed <= left_float(graph) else 0.9, {"two": 0.1, "one": 0.05}
    )
    assert found.cosine == 0.99
    assert {layer.name for layer in found.kept} == needed == left_float(found.graph)
    assert set(found.harm) == set(small_graph.LAYERS)


def test_as_many_are_left_out_as_cost_nothing(quantiser: Quantiser) -> None:
    def cosine_of(graph: bytes) -> float:
        return 0.99 if "two" in left_float(graph) else 0.9

    # three in fp32 are no slower than the fastest, four are
    found = run(
        quantiser,
        cosine_of,
        {"two": 0.1, "one": 0.05, "stem": 0.04},
        {0: 1.1, 1: 1.0, 2: 1.04, 3: 1.02}.__getitem__,
    )
    assert {layer.name for layer in found.kept} == {"two", "one", "stem"}
    # what costs more is left out where the cheap ones are not near enough
    found = run(quantiser, cosine_of, {"one": 0.1, "two": 0.05}, {0: 1.0, 1: 1.0, 2: 9.0, 3: 9.0}.__getitem__)
    assert {layer.name for layer in found.kept} == {"one", "two"}


def test_the_most_harmful_is_left_out_first_whatever_work_it_does(quantiser: Quantiser) -> None:
    # the stem does three sixteenths of another's work
    found = run(
        quantiser,
        lambda graph: 0.99 if left_float(graph) else 0.9,
        {"stem": 0.05, "four": 0.1},
        lambda n: 1 + n,
    )
    assert [layer.name for layer in found.kept] == ["four"]


def test_where_nothing_is_near_enough_the_nearest_is_told(quantiser: Quantiser) -> None:
    found = run(quantiser, lambda graph: 0.9 + 0.01 * len(left_float(graph)), {})
    assert found.cosine < 0.985
    assert found.cosine == max(one.cosine for one in found.attempts)
    kept = [layer for layer in quantiser.layers if layer.name in left_float(found.graph)]
    assert kept == sorted(found.kept, key=quantiser.layers.index)
    assert quantiser.share(kept) <= sensitivity.MOST_KEPT


def test_graphs_are_timed_by_what_they_compute(quantiser: Quantiser, calibration: CalibrationImages) -> None:
    source = small_graph.build()
    busy = onnx.load_from_string(source)
    (stem,) = [node for node in busy.graph.node if node.output[0] == "stem.relu"]
    at, names = (
        list(busy.graph.node).index(stem) + 1,
        ["idle", *(f"idle.{n}" for n in range(200)), "stem.relu"],
    )
    stem.output[0] = names[0]
    for place, (given, made) in enumerate(pairwise(names)):
        busy.graph.node.insert(at + place, helper.make_node("Sin", [given], [made]))
    trial = Trial(source, calibration.images, calibration.modality)
    once, longer, again = trial.seconds([source, busy.SerializeToString(), source])
    assert longer > 2 * max(once, again) > 0


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

    found = sensitivity.search(
        quantiser,
        trial.cosine,
        0.985,
        lambda graph: 1 - trial.cosine(graph),
        lambda choices: [float(9 - len(one)) for one in choices],
        unseen,
    )
    assert found.attempts[0].cosine < 0.985 <= found.cosine
    assert {layer.name for layer in found.kept} >= {"three", "four"}


def test_a_score_that_is_no_number_misses_every_bar() -> None:
    lost = Score(float("nan"), float("nan"), -100.0)
    assert len(lost.misses(BARS["int8"])) == 3
    assert Score(0.99, 0.9, -0.6).misses(BARS["int8"]) == ("mAP -0.60 points, at most 0.5 may be lost",)
    assert Score(0.99, 0.9, 0.6).misses(BARS["int8"]) == ()
