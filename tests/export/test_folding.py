"""Graphs made plainer give the same rows; what cannot be folded stays."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import folding
from tests.export import normed_graph


def rows(proto: onnx.ModelProto) -> np.ndarray:
    images, modality = normed_graph.pictures()
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images, "modality": modality})[0]


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


@pytest.fixture
def proto() -> onnx.ModelProto:
    return onnx.load_from_string(normed_graph.build())


@pytest.mark.parametrize("weight", [1.0, 1e6, 1e-6])
def test_batch_norms_become_part_of_their_convolutions(weight: float) -> None:
    proto = onnx.load_from_string(normed_graph.build(weight=weight))
    expected = rows(proto)
    folding.fold(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    assert "BatchNormalization" not in kinds(proto)
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)
    read = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= read


def test_a_convolution_that_is_read_elsewhere_keeps_its_batch_norm(proto: onnx.ModelProto) -> None:
    shortcut = next(node for node in proto.graph.node if node.op_type == "Add")
    shortcut.input[1] = "first"
    expected = rows(proto)
    folding.fold(proto.graph)
    assert kinds(proto).count("BatchNormalization") == 1
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)


def test_a_batch_norm_whose_numbers_are_computed_stays(proto: onnx.ModelProto) -> None:
    norm = next(node for node in proto.graph.node if node.op_type == "BatchNormalization")
    proto.graph.node.insert(0, helper.make_node("Relu", [norm.input[1]], ["computed"]))
    norm.input[1] = "computed"
    folding.fold(proto.graph)
    assert kinds(proto).count("BatchNormalization") == 1


def test_a_bias_of_the_convolution_is_kept(proto: onnx.ModelProto) -> None:
    convolution = next(node for node in proto.graph.node if node.op_type == "Conv")
    bias = np.linspace(-2, 2, normed_graph.DIM, dtype=np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    convolution.input.append("bias")
    expected = rows(proto)
    folding.fold(proto.graph)
    assert "BatchNormalization" not in kinds(proto)
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)


def test_weights_that_are_only_rearranged_become_weights(proto: onnx.ModelProto) -> None:
    convolution = next(node for node in proto.graph.node if node.op_type == "Conv")
    kernel = next(each for each in proto.graph.initializer if each.name == convolution.input[1])
    values = numpy_helper.to_array(kernel)
    kernel.CopyFrom(numpy_helper.from_array(values.reshape(-1), kernel.name))
    shape = numpy_helper.from_array(np.array(values.shape), "shape")
    nodes = [
        helper.make_node("Constant", [], ["held"], value=shape),
        helper.make_node("Reshape", [kernel.name, "held"], ["kernel"]),
    ]
    convolution.input[1] = "kernel"
    for node in reversed(nodes):
        proto.graph.node.insert(0, node)
    expected = rows(proto)
    folding.fold(proto.graph)
    assert not {"Constant", "Reshape"} & set(kinds(proto))
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)


def test_bytes_become_numbers_before_they_move(proto: onnx.ModelProto) -> None:
    expected = rows(proto)
    assert kinds(proto)[:2] == ["Transpose", "Cast"]
    folding.cast_first(proto.graph)
    assert kinds(proto)[:2] == ["Cast", "Transpose"]
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_array_equal(rows(proto), expected)
    folding.cast_first(proto.graph)
    assert kinds(proto)[:2] == ["Cast", "Transpose"]


def test_bytes_that_something_else_reads_too_stay(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Shape", ["moved"], ["sizes"]))
    proto.graph.output.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]))
    folding.cast_first(proto.graph)
    assert kinds(proto)[:2] == ["Transpose", "Cast"]


@pytest.mark.parametrize("flipped", [False, True])
def test_what_is_added_to_channels_becomes_a_bias_and_may_be_split_again(
    proto: onnx.ModelProto, flipped: bool
) -> None:
    column = np.linspace(-1, 1, normed_graph.DIM, dtype=np.float32).reshape(1, -1, 1, 1)
    proto.graph.initializer.append(numpy_helper.from_array(column, "column"))
    at = next(at for at, node in enumerate(proto.graph.node) if node.op_type == "Conv")
    proto.graph.node[at].output[0] = "bare"
    order = ["column", "bare"] if flipped else ["bare", "column"]
    proto.graph.node.insert(at + 1, helper.make_node("Add", order, ["first"]))
    expected, sums = rows(proto), kinds(proto).count("Add")
    folding.fold(proto.graph)
    assert kinds(proto).count("Add") == sums - 1
    assert "BatchNormalization" not in kinds(proto)
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)
    folding.split_biases(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    assert kinds(proto).count("Add") == sums + 1
    assert all(len(node.input) == 2 for node in proto.graph.node if node.op_type == "Conv")
    np.testing.assert_allclose(rows(proto), expected, atol=1e-5)


def test_what_is_added_to_places_is_no_bias(proto: onnx.ModelProto) -> None:
    places = np.zeros((1, 1, normed_graph.HEIGHT, normed_graph.WIDTH), np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(places, "places"))
    at = next(at for at, node in enumerate(proto.graph.node) if node.op_type == "Conv")
    proto.graph.node[at].output[0] = "bare"
    proto.graph.node.insert(at + 1, helper.make_node("Add", ["bare", "places"], ["first"]))
    before = kinds(proto).count("Add")
    folding.fold(proto.graph)
    assert kinds(proto).count("Add") == before
