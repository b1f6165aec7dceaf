"""The estimate of a half graph against onnx's own reference, which computes in half precision."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from export import half, rounding
from tests.export import normed_graph


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_estimate_is_what_the_reference_gives(precision: half.Half, exact: bool) -> None:
    images, modality = normed_graph.pictures()
    given = {"images": images, "modality": modality}
    made = half.halve(normed_graph.build(), precision, exact=exact).graph
    estimate = rounding.spelled_out(made)
    proto = onnx.load_from_string(estimate)
    onnx.checker.check_model(proto, full_check=True)
    assert {tensor.data_type for tensor in proto.graph.initializer} == {TensorProto.FLOAT, TensorProto.INT64}

    def run(graph: bytes) -> np.ndarray:
        return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, given)[0]

    found, source = run(estimate), run(normed_graph.build())
    expected = ReferenceEvaluator(onnx.load_from_string(made)).run(None, given)[0]
    lost = np.abs(expected - source).max()
    assert lost > 1e-5  # rounding is seen
    assert np.abs(found - expected).max() < 0.5 * lost


@pytest.mark.parametrize("exact", [False, True])
def test_biases_stay_fp32_where_sums_are_exact(exact: bool) -> None:
    made = half.halve(normed_graph.build(), "bf16", exact=exact)
    assert made.half == 2
    graph = onnx.load_from_string(made.graph).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    biases = [kinds[node.input[2]] for node in graph.node if node.op_type == "Conv" and len(node.input) > 2]
    assert biases == ([] if exact else [TensorProto.BFLOAT16] * 2)
    columns = [kind for name, kind in kinds.items() if name.endswith(".column")]
    assert columns == ([TensorProto.FLOAT] * 2 if exact else [])


def test_a_graph_without_halves_stays_as_it_gives() -> None:
    images, modality = normed_graph.pictures()
    given = {"images": images, "modality": modality}
    rows = [
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, given)[0]
        for graph in (normed_graph.build(), rounding.spelled_out(normed_graph.build()))
    ]
    np.testing.assert_array_equal(*rows)
