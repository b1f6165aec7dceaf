"""Powers by logarithms: the same numbers, and only where the base is known to be above nought."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import powers

WIDTH = 40


def graph(nodes: Sequence[tuple[str, Sequence[str], str]], **constants: np.ndarray) -> onnx.ModelProto:
    made = helper.make_graph(
        [helper.make_node(kind, list(inputs), [output]) for kind, inputs, output in nodes],
        "powers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "columns"])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


LEAST, AXES, P = np.array(1e-6, np.float32), np.array([1], np.int64), np.array(3.1, np.float32)


def test_pooling_by_a_power_gives_the_same_numbers() -> None:
    model = graph(
        [
            ("Clip", ["x", "least"], "clipped"),
            ("ReduceMax", ["clipped", "axes"], "most"),
            ("Div", ["clipped", "most"], "share"),
            ("Pow", ["share", "p"], "power"),
            ("ReduceMean", ["power", "axes"], "mean"),
            ("Pow", ["mean", "root"], "rooted"),
            ("Mul", ["rooted", "most"], "y"),
        ],
        least=LEAST,
        axes=AXES,
        p=P,
        root=np.array(1 / 3.1, np.float32),
    )
    x = np.random.default_rng(0).normal(0, 30, (8, WIDTH)).astype(np.float32)
    x[0] = 0.0
    powers.by_logarithms(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert "Pow" not in kinds(model)
    assert kinds(model).count("Exp") == 2
    wide = np.maximum(x.astype(np.float64), 1e-6)
    expected = (wide**3.1).mean(axis=1, keepdims=True) ** (1 / 3.1)
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Pow", ["x", "p"], "y")], {"p": np.array(2, np.float32)}),
        ([("Clip", ["x", "least"], "c"), ("Pow", ["c", "p"], "y")], {"p": P, "least": np.array(0, np.float32)}),
        ([("Clip", ["x", "least"], "c"), ("Sub", ["c", "p"], "d"), ("Pow", ["d", "p"], "y")], {"p": P, "least": LEAST}),
        ([("Clip", ["x", "least"], "c"), ("Pow", ["c", "x"], "y")], {"least": LEAST}),
        ([("Clip", ["x", "", "most"], "c"), ("Pow", ["c", "p"], "y")], {"p": P, "most": np.array(9, np.float32)}),
    ],
)  # fmt: skip
def test_a_base_that_may_be_nought_or_less_is_left_alone(
    nodes: list[tuple[str, Sequence[str], str]], constants: dict[str, np.ndarray]
) -> None:
    model = graph(nodes, **constants)
    before = model.SerializeToString()
    powers.by_logarithms(model.graph)
    assert model.SerializeToString() == before
