"""Weights in other files are seen from a graph's bytes, wherever tensors stand; the onnx library is the oracle."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vireid import bundle
from vireid.engines.onnx_outside import refuse
from vireid.errors import BundleCorrupt


def outside(name: str = "w", location: str = "weights.bin") -> TensorProto:
    tensor = TensorProto(name=name, dims=[2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    return tensor


def inside(name: str = "w") -> TensorProto:
    return numpy_helper.from_array(np.arange(2, dtype=np.float32), name)


def graph(*tensors: TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.GraphProto:
    return helper.make_graph(nodes or [], "g", [], [], list(tensors))


def model(made: onnx.GraphProto, **more: object) -> bytes:
    data: bytes = helper.make_model(made, **more).SerializeToString()
    return data


def test_weights_inside_are_fine() -> None:
    constant = helper.make_node("Constant", [], ["c"], value=inside())
    refuse(model(graph(inside(), nodes=[constant])), "b.zip")
    default = bundle.read(bundle.default_path())
    refuse(default.file(default.manifest.model.file), "b.zip")


def test_a_weight_outside_is_seen_wherever_it_stands() -> None:
    constant = helper.make_node("Constant", [], ["c"], value=outside())
    branch = helper.make_node("If", ["x"], ["y"], then_branch=graph(outside()), else_branch=graph(inside()))
    own = [helper.make_opsetid("", 18)]
    function = helper.make_function("", "F", [], ["c"], [constant], own)
    preset = helper.make_function("", "F", [], ["c"], [], own)
    preset.attribute_proto.append(helper.make_attribute("value", outside()))
    sparse = onnx.SparseTensorProto(values=outside(), indices=inside("i"), dims=[4])
    whole = graph(inside())
    whole.sparse_initializer.append(sparse)
    several = helper.make_node("Anything", [], ["c"], tensors=[inside(), outside()])
    for data in (
        model(graph(inside("a"), outside("b"))),
        model(graph(nodes=[constant])),
        model(graph(nodes=[branch])),
        model(graph(nodes=[several])),
        model(graph(), functions=[function]),
        model(graph(), functions=[preset]),
        model(whole),
    ):
        with pytest.raises(BundleCorrupt, match=r"b\.zip keeps weights in other files"):
            refuse(data, "b.zip")


@pytest.mark.parametrize("data", [b"no graph", b"\x08", b"\x3a\xff\x01", b"\x3b", b"\xff" * 20])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        refuse(data, "b.zip")


@pytest.mark.parametrize(
    ("imported", "foreign"),
    [
        (["", "ai.onnx"], ()),
        (["", "com.microsoft", "ai.onnx.ml", "com.microsoft"], ("ai.onnx.ml", "com.microsoft")),
        (["é"], ("é",)),
    ],
)
def test_operators_of_a_library_are_named(imported: list[str], foreign: tuple[str, ...]) -> None:
    data = model(graph(inside()), opset_imports=[helper.make_opsetid(name, 1) for name in imported])
    if foreign:
        with pytest.raises(BundleCorrupt, match=f"b.zip takes operators from {', '.join(foreign)}, "):
            refuse(data, "b.zip")
    else:
        refuse(data, "b.zip")


def test_an_operator_of_a_library_is_seen_though_nothing_imports_it() -> None:
    """TensorRT looks for it among its plugins."""
    strange = helper.make_node("Custom", ["x"], ["y"], domain="some.where")
    branch = helper.make_node("If", ["x"], ["y"], then_branch=graph(nodes=[strange]))
    own = [helper.make_opsetid("", 18)]
    function = helper.make_function("", "F", [], ["y"], [], [helper.make_opsetid("some.where", 1)])
    for data in (
        model(graph(nodes=[strange]), opset_imports=own),
        model(graph(nodes=[branch]), opset_imports=own),
        model(graph(), functions=[function], opset_imports=own),
    ):
        with pytest.raises(BundleCorrupt, match=r"takes operators from some\.where, "):
            refuse(data, "b.zip")


@pytest.mark.parametrize("data", [b"\x42\x03\x0a\x05a", b"\x42\x03\x0a\x01\xff", b"\x42\xff"])
def test_imports_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        refuse(data, "b.zip")
