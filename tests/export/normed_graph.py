"""A graph with batch norms written in ONNX by hand, and numpy's word on it: no torch, a free batch, both modalities."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, DIM = 16, 8, 12


def build(*, opset: int = 18, loud: float = 1.0, weight: float = 1.0) -> bytes:
    """Build it: bytes moved, then numbers; two convolutions with batch norms, a shortcut, the mean of powers, unit rows.

    Args:
        opset: of ONNX's operators.
        loud: what the maps between the convolutions are multiplied by, and divided by again.
        weight: the same, in the first convolution's weights alone.
    """
    random = np.random.default_rng(2)
    weights: list[onnx.TensorProto] = []

    def constant(name: str, values: object, kind: type = np.float32) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def conv(name: str, x: str, inputs: int, factor: float = 1.0) -> onnx.NodeProto:
        drawn = random.normal(0, (9 * inputs) ** -0.5, (DIM, inputs, 3, 3)) * factor
        return helper.make_node("Conv", [x, constant(f"{name}.w", drawn)], [name], pads=[1, 1, 1, 1])

    def norm(name: str, x: str, variance: float) -> onnx.NodeProto:
        parts = (
            random.uniform(0.5, 1.5, DIM),
            random.normal(0, 0.2, DIM),
            random.normal(0, 0.2, DIM) * variance**0.5,
            random.uniform(0.5, 1.5, DIM) * variance,
        )
        names = [constant(f"{name}.{at}", part) for at, part in enumerate(parts)]
        return helper.make_node("BatchNormalization", [x, *names], [name], epsilon=1e-5)

    nodes = [
        helper.make_node("Transpose", ["images"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["numbers", constant("mean", 120.0)], ["centred"]),
        helper.make_node("Div", ["centred", constant("std", 60.0)], ["light"]),
        conv("first", "light", 3, weight),
        norm("first_norm", "first", weight**2),
        helper.make_node("Relu", ["first_norm"], ["first_relu"]),
        helper.make_node("Mul", ["first_relu", constant("loud", loud)], ["louder"]),
        conv("second", "louder", DIM, 1 / loud),
        norm("second_norm", "second", 1.0),
        helper.make_node("Add", ["second_norm", "first_relu"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["last"]),
        helper.make_node("Pow", ["last", constant("power", 3.0)], ["cubes"]),
        helper.make_node(
            "ReduceMean", ["cubes", constant("plane", [2, 3], np.int64)], ["pooled"], keepdims=0
        ),
        helper.make_node(
            "Gather", [constant("shifts", random.normal(0, 0.3, (2, DIM))), "modality"], ["shift"]
        ),
        helper.make_node("Add", ["pooled", "shift"], ["row"]),
        helper.make_node("ReduceL2", ["row", constant("axis", [1], np.int64)], ["length"], keepdims=1),
        helper.make_node("Div", ["row", "length"], ["embeddings"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])
    modality = helper.make_tensor_value_info("modality", TensorProto.INT64, ["batch"])
    rows = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])
    graph = helper.make_graph(nodes, "normed", [images, modality], [rows], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    written: bytes = made.SerializeToString()
    return written


def pictures(count: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw blocks of colour, and a modality of each."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (count, HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    return blocks.repeat(4, 1).repeat(4, 2), np.arange(count) % 2
