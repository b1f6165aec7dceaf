"""Places to divide a graph: all of the images goes through them, and what is before them is counted right."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import beginning
from tests.export import normed_graph
from vireid import bundle as bundles
from vireid.errors import BundleCorrupt


def test_the_map_between_two_convolutions_is_a_place() -> None:
    (found,) = beginning.cuts(normed_graph.build())
    first, second = 3 * normed_graph.DIM * 9, normed_graph.DIM**2 * 9
    assert found.name == "first_relu"
    assert found.share == pytest.approx(first / (first + second))


def test_no_place_with_more_before_it_than_is_allowed() -> None:
    assert beginning.cuts(normed_graph.build(), most=0.1) == ()


def test_every_place_of_the_default_model_holds_all_of_the_images() -> None:
    """Asked of the graph itself: with a place taken out, nothing leads from the images to the rows."""
    default = bundles.read(bundles.default_path())
    graph = default.file(default.manifest.model.file)
    places = beginning.cuts(graph)
    assert len(places) > 3
    assert [place.share for place in places] == sorted(place.share for place in places)
    nodes = onnx.load_from_string(graph).graph.node
    for place in places:
        reached = {"images"}
        for node in nodes:
            if node.op_type != "Shape" and not reached.isdisjoint(node.input):
                reached.update(set(node.output) - {place.name})
        assert "embeddings" not in reached, place.name


def test_a_graph_in_two_branches_has_no_place() -> None:
    """Each convolution reads the images themselves, and their sum is the row."""
    random = np.random.default_rng(0)
    weights = {
        "left": random.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32),
        "right": random.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32),
        "plane": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["light"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["light", "left"], ["one"]),
        helper.make_node("Conv", ["light", "right"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["both"]),
        helper.make_node("ReduceMean", ["both", "plane"], ["row"], keepdims=0),
        helper.make_node("LpNormalization", ["row"], ["embeddings"], axis=1, p=2),
    ]
    made = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 16, 8, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    graph = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert beginning.cuts(graph.SerializeToString(), most=0.99) == ()


def test_what_is_no_graph() -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        beginning.cuts(b"no graph")
