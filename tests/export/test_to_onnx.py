"""What is written has been proven; a spoiled graph is refused and leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from export import to_onnx
from export.parity import draw_probes
from export.to_onnx import Description, export
from vireid import bundle
from vireid.engines import open_engine
from vireid.errors import ExportError

DESCRIPTION = Description(
    name="tiny",
    method="none",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    provenance={"dataset": "drawn", "seed": 5},
    metrics={"map": {"value": 0.5, "protocol": "none"}},
    notice="made for a test",
)


@pytest.mark.parametrize("name", ["tiny.zip", "tiny"])
def test_a_bundle_says_where_it_comes_from_and_embeds_as_the_model_does(
    tiny_model: nn.Module, tmp_path: Path, name: str
) -> None:
    made = bundle.read(export(tiny_model, DESCRIPTION, tmp_path / name))
    manifest = made.manifest
    assert (manifest.name, manifest.method, manifest.notice) == ("tiny", "none", "made for a test")
    assert (manifest.model.dim, manifest.model.opset, manifest.model.precision) == (24, 22, "fp32")
    assert (manifest.preprocess.height, manifest.preprocess.width) == (32, 16)
    assert manifest.provenance == {"dataset": "drawn", "seed": 5}
    assert manifest.metrics["map"]["protocol"] == "none"
    assert manifest.parity["cosine_min"] >= 0.99999
    assert manifest.parity["candidate"].startswith("onnxruntime")
    probes = draw_probes(32, 16, count=9, seed=3)
    rows = open_engine(made, device="cpu").embed(probes.images, probes.modality)
    with torch.inference_mode():
        expected = tiny_model(torch.from_numpy(probes.images), torch.from_numpy(probes.modality)).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)


@pytest.mark.parametrize("opset", [18, 20, 22, 23])
def test_the_graph_has_our_inputs_a_free_batch_and_no_trace_of_this_machine(
    tiny_model: nn.Module, opset: int, repository: Path
) -> None:
    graph = to_onnx.to_graph(tiny_model, opset)
    proto = onnx.load_from_string(graph)
    assert {entry.domain: entry.version for entry in proto.opset_import} == {"": opset}
    shape = [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 32, 16, 3]
    assert str(repository).encode() not in graph
    assert b"site-packages" not in graph


def with_other_normalisation(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer:
        if tensor.dims == [] and np.isclose(numpy_helper.to_array(tensor), 127.5):
            tensor.CopyFrom(numpy_helper.from_array(np.float32(110), tensor.name))
            return
    raise AssertionError("the graph has no 127.5")


def with_swapped_modality(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        for at, name in enumerate(node.input):
            if name == "modality":
                node.input[at] = "swapped"
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(1), "one"))
    proto.graph.node.insert(0, helper.make_node("Sub", ["one", "modality"], ["swapped"]))


def with_rows_leaning_on_their_batch(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        for at, name in enumerate(node.output):
            if name == "embeddings":
                node.output[at] = "alone"
    proto.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0], np.int64), "batch_axis"),
            numpy_helper.from_array(np.array([1], np.int64), "row_axis"),
        ]
    )
    proto.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["alone", "batch_axis"], ["shared"], keepdims=1),
            helper.make_node("Add", ["alone", "shared"], ["leaning"]),
            helper.make_node("ReduceL2", ["leaning", "row_axis"], ["length"], keepdims=1),
            helper.make_node("Div", ["leaning", "length"], ["embeddings"]),
        ]
    )


def with_a_nan(proto: onnx.ModelProto) -> None:
    weight = next(t for t in proto.graph.initializer if list(t.dims) == [8, 3, 3, 3])
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_other_normalisation, "differs from the model it was made from"),
        (with_swapped_modality, "differs from the model it was made from"),
        (with_rows_leaning_on_their_batch, r"a row in company differs from itself alone.*the graph is wrong"),
        (with_a_nan, "does not run|NaN"),
    ],
)
def test_a_spoiled_graph_is_refused_and_leaves_no_file(
    tiny_model: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    proto = onnx.load_from_string(to_onnx.to_graph(tiny_model))
    spoil(proto)
    onnx.checker.check_model(proto, full_check=True)
    monkeypatch.setattr(to_onnx, "to_graph", lambda model, opset: proto.SerializeToString())
    with pytest.raises(ExportError, match=message):
        export(tiny_model, DESCRIPTION, tmp_path / "bundle.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_model_onnx_cannot_say_is_an_export_error(tiny_model: nn.Module, tmp_path: Path) -> None:
    class Branching(nn.Module):
        input_size, dim = (32, 16), 24

        def forward(self, images: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
            return tiny_model(images, modality) * (1 if modality.sum().item() > 0 else -1)

    with pytest.raises(ExportError, match="cannot be written as ONNX"):
        export(Branching(), DESCRIPTION, tmp_path / "bundle.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_batch_is_fixed_is_refused(tiny_model: nn.Module, tmp_path: Path) -> None:
    class Fixed(nn.Module):
        input_size, dim = (32, 16), 24

        def forward(self, images: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
            return tiny_model(images.reshape(2, 32, 16, 3), modality)

    with pytest.raises(ExportError):
        export(Fixed(), DESCRIPTION, tmp_path / "bundle.zip")
    assert list(tmp_path.iterdir()) == []


def test_unknown_opset_and_a_taken_place_are_refused(tiny_model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="18 to 23 are supported"):
        to_onnx.to_graph(tiny_model, 17)
    with pytest.raises(ExportError, match="there already"):
        export(tiny_model, DESCRIPTION, tmp_path)


def test_a_graph_that_gives_another_dimension_is_refused(tiny_model: nn.Module) -> None:
    tiny_model.dim = 23
    with pytest.raises(ExportError, match="was expected"):
        to_onnx.to_graph(tiny_model)


def test_graph_with_foreign_operators_is_refused(
    tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx._without_traces

    def with_foreign_operators(proto: onnx.ModelProto) -> onnx.ModelProto:
        proto.opset_import.append(helper.make_opsetid("somewhere.else", 1))
        return real(proto)

    monkeypatch.setattr(to_onnx, "_without_traces", with_foreign_operators)
    with pytest.raises(ExportError, match=r"only ai\.onnx 22"):
        to_onnx.to_graph(tiny_model)
