"""Attention with a mask that hides nothing, with one that does, and with a guard: before and after."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import masks

TOKENS, WIDTH = 5, 4


def attention(*, hidden: bool = False, scores: str = "MatMul", flipped: bool = False) -> onnx.ModelProto:
    """Queries that are keys and values too, masked by an expanded constant and guarded against NaN, as torch writes it."""
    mask = np.ones((1, TOKENS, TOKENS), bool)
    mask[0, :, -1] = not hidden
    weights = {
        "mask": mask,
        "nothing": np.float32(0),
        "away": np.float32(-np.inf),
        "size": np.array([1, TOKENS, TOKENS], np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["keys"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "keys"], ["products"]),
        helper.make_node("Identity" if scores == "MatMul" else scores, ["products"], ["scores"]),
        helper.make_node("Expand", ["mask", "size"], ["every"]),
        helper.make_node("Where", ["every", "nothing", "away"], ["added"]),
        helper.make_node("Add", ["added", "scores"] if flipped else ["scores", "added"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=-1),
        helper.make_node("IsNaN", ["shares"], ["broken"]),
        helper.make_node("Where", ["broken", "nothing", "shares"], ["guarded"]),
        helper.make_node("MatMul", ["guarded", "x"], ["y"]),
    ]
    if scores == "MatMul":
        del nodes[2]
        nodes[1].output[0] = "scores"
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", TOKENS, WIDTH])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def outcome(proto: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(3, TOKENS, WIDTH)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mask_that_hides_nothing_goes_and_its_guard_too(flipped: bool) -> None:
    proto = attention(flipped=flipped)
    expected = outcome(proto)
    masks.drop_idle(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    assert kinds(proto) == ["Transpose", "MatMul", "Softmax", "MatMul"]
    np.testing.assert_array_equal(outcome(proto), expected)


def test_a_mask_that_hides_something_stays_and_its_guard_too() -> None:
    proto = attention(hidden=True)
    before, expected = kinds(proto), outcome(proto)
    masks.drop_idle(proto.graph)
    assert kinds(proto) == before
    np.testing.assert_array_equal(outcome(proto), expected)


def test_scores_that_are_no_products_keep_their_guard() -> None:
    """The logarithm of something negative is NaN, which the guard is there for."""
    proto = attention(scores="Log")
    expected = outcome(proto)
    assert (expected == 0).any()
    masks.drop_idle(proto.graph)
    assert "IsNaN" in kinds(proto)
    np.testing.assert_array_equal(outcome(proto), expected)


def test_what_the_graph_gives_stays() -> None:
    proto = attention()
    proto.graph.output.append(
        helper.make_tensor_value_info("guarded", TensorProto.FLOAT, ["batch", TOKENS, TOKENS])
    )
    masks.drop_idle(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    assert "IsNaN" in kinds(proto)
