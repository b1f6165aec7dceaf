"""A residual network written in ONNX by hand, small enough to quantise in a moment: no torch, a free batch, both modalities."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CHANNELS = 32, 16, 16
LAYERS = ("stem", "one", "two", "three", "four", "last")


def build(seed: int = 0, loud: Sequence[str] = ()) -> bytes:
    """Build the graph: a stem, two residual blocks of two convolutions, a last one, the mean, unit rows.

    Args:
        seed: of the weights.
        loud: layers one of whose channels is a thousand times as strong as the others, which eight bits cannot hold.
    """
    random = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node.{output}", **attributes))
        return output

    def conv(name: str, x: str, inputs: int, *, strides: int = 1) -> str:
        weight = random.normal(0, np.sqrt(2 / (9 * inputs)), (CHANNELS, inputs, 3, 3)).astype(np.float32)
        bias = random.normal(0, 0.1, CHANNELS).astype(np.float32)
        if name in loud:
            weight[0] *= 1000
        names = [x, constant(f"{name}.w", weight), constant(f"{name}.b", bias)]
        return add("Conv", names, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[strides, strides])

    add("Transpose", ["images"], "planes", perm=[0, 3, 1, 2])
    add("Cast", ["planes"], "numbers", to=TensorProto.FLOAT)
    add("Mul", ["numbers", constant("share", np.float32(1 / 64))], "scaled")
    add("Sub", ["scaled", constant("mean", np.float32(2))], "normal")
    add("Cast", ["modality"], "night", to=TensorProto.FLOAT)
    add("Reshape", ["night", constant("column", np.array([-1, 1, 1, 1], np.int64))], "side")
    add("Mul", ["side", constant("shade", np.float32(0.2))], "shift")
    x = add("Add", ["normal", "shift"], "pixels")
    x = add("Relu", [conv("stem", x, 3, strides=2)], "stem.relu")
    for first, second in (("one", "two"), ("three", "four")):
        inner = add("Relu", [conv(first, x, CHANNELS)], f"{first}.relu")
        total = add("Add", [conv(second, inner, CHANNELS), x], f"{second}.sum")
        x = add("Relu", [total], f"{second}.relu")
    x = conv("last", x, CHANNELS)
    add("ReduceMean", [x, constant("plane", np.array([2, 3], np.int64))], "row", keepdims=0)
    add("ReduceL2", ["row", constant("axis", np.array([1], np.int64))], "length", keepdims=1)
    add("Div", ["row", "length"], "embeddings")
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3])
    modality = helper.make_tensor_value_info("modality", TensorProto.INT64, ["batch"])
    rows = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", CHANNELS])
    graph = helper.make_graph(nodes, "small", [images, modality], [rows], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def pictures(people: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw blocks of colour, a pattern for each person, by day and in grey by night.

    Returns:
        Images (N, H, W, 3), modality (N,) in turns, person (N,).
    """
    random = np.random.default_rng(seed)
    images, modality, person = [], [], []
    for who in range(people):
        pattern = random.uniform(20, 235, (4, 2, 3))
        for _ in range(each):
            for night in (0, 1):
                colours = np.kron(pattern, np.ones((HEIGHT // 4, WIDTH // 2, 1)))
                colours = colours + random.normal(0, 8, colours.shape)
                if night:
                    colours = np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)
                images.append(np.clip(colours, 0, 255).astype(np.uint8))
                modality.append(night)
                person.append(who)
    return np.stack(images), np.array(modality, np.int64), np.array(person, np.int64)
