"""What is told of a graph, and what is refused in one."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph_summary, half
from tests.export import normed_graph
from vireid.errors import BundleCorrupt


def test_a_graph_in_a_few_words() -> None:
    found = graph_summary.summarise(normed_graph.build(), "model.onnx")
    assert found.opset == 18
    assert found.inputs == {"images": "uint8 (batch, 16, 8, 3)", "modality": "int64 (batch)"}
    assert found.outputs == {"embeddings": "fp32 (batch, 12)"}
    assert found.operators["Conv"] == 2
    assert next(iter(found.operators.values())) == max(found.operators.values())
    # two kernels, two batch norms of four rows, a table of shifts, and four numbers
    held = 12 * 3 * 9 + 12 * 12 * 9 + 2 * 4 * 12 + 2 * 12 + 4
    assert found.weights == {"fp32": held}
    lines = dict(found.lines())
    assert lines["weights"] == "0.00 million: 100.0 % fp32"
    assert lines["takes"] == "images uint8 (batch, 16, 8, 3), modality int64 (batch)"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_precisions_of_weights_are_told_apart(precision: half.Half) -> None:
    found = graph_summary.summarise(half.halve(normed_graph.build(), precision).graph, "half.onnx")
    assert list(found.weights) == [precision, "fp32"]
    # the head's table, and the four numbers that prepare pixels and pool
    assert found.weights["fp32"] == 2 * 12 + 3
    assert dict(found.lines())["weights"].startswith("0.00 million: 98.")


def with_weights_outside(proto: onnx.ModelProto) -> None:
    tensor = next(each for each in proto.graph.initializer if each.name == "shifts")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../elsewhere.bin"))


def with_weights_outside_in_an_attribute(proto: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.float32(1), "far")
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../elsewhere.bin"))
    proto.graph.node.append(helper.make_node("Constant", [], ["constant"], value=tensor))


def with_weights_outside_in_a_branch(proto: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.float32(1), "far")
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="../elsewhere.bin"))
    branch = helper.make_graph([helper.make_node("Identity", ["far"], ["out"])], "branch", [], [], [tensor])
    proto.graph.node.append(
        helper.make_node("If", ["condition"], ["chosen"], then_branch=branch, else_branch=branch)
    )


def with_foreign_operators(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Gelu", ["row"], ["more"], domain="com.microsoft"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def with_foreign_operators_in_a_branch(proto: onnx.ModelProto) -> None:
    inner = helper.make_node("Anything", ["row"], ["out"], domain="some.where")
    branch = helper.make_graph([inner], "branch", [], [])
    proto.graph.node.append(
        helper.make_node("If", ["condition"], ["chosen"], then_branch=branch, else_branch=branch)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_weights_outside, r"model\.onnx keeps weights in other files"),
        (with_weights_outside_in_an_attribute, r"other files; .*as one file"),
        (with_weights_outside_in_a_branch, r"other files"),
        (with_foreign_operators, r"operators from com\.microsoft"),
        (with_foreign_operators_in_a_branch, r"operators from some\.where"),
    ],
)
def test_what_is_refused(change: Callable[[onnx.ModelProto], None], said: str) -> None:
    proto = onnx.load_from_string(normed_graph.build())
    change(proto)
    with pytest.raises(BundleCorrupt, match=said):
        graph_summary.summarise(proto.SerializeToString(), "model.onnx")


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(BundleCorrupt, match=r"model\.onnx is no ONNX file"):
        graph_summary.summarise(b"\x00never", "model.onnx")
