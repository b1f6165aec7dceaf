"""Graphs that lean on other files are refused by whatever reads one, before anything is looked for beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from export import graph_summary, half, layers, onnx_file, tensorrt_graph
from tests.export import normed_graph
from vireid.errors import BundleCorrupt


@pytest.mark.parametrize(
    "read",
    [
        onnx_file.load,
        layers.plain,
        lambda graph: half.halve(graph, "fp16"),
        lambda graph: half.halve(graph, "bf16"),
        tensorrt_graph.adapt,
        lambda graph: graph_summary.summarise(graph, "the graph"),
    ],
)
def test_weights_that_lie_in_the_working_directory_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[bytes], Any]
) -> None:
    proto = onnx.load_from_string(normed_graph.build())
    tensor = max(proto.graph.initializer, key=lambda one: len(one.raw_data))
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="weights.bin"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleCorrupt, match="the graph keeps weights in other files"):
        read(proto.SerializeToString())


def test_a_whole_graph_is_read() -> None:
    graph = normed_graph.build()
    assert onnx_file.load(graph) == onnx.load_from_string(graph)
