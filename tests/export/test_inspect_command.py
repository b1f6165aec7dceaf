"""``vireid export inspect``: engines, proofs and graphs of a bundle; nothing is told of graphs that may not be there."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner, Result

from export import half
from export.command import app
from tests.export import normed_graph, small_bundle
from vireid import bundle
from vireid.bundle import EnginePart
from vireid.errors import BundleCorrupt


def inspect(*words: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return small_bundle.write(tmp_path / "normed.zip", normed_graph.build(), parity={"cosine_min": 0.9999998})


def add(path: Path, precision: half.Half, runtime: str, **words: Any) -> None:
    read = bundle.read(path)
    part = EnginePart.model_validate(
        {"runtime": runtime, "precision": precision, "file": f"{precision}.onnx", **words}
    )
    files = {part.file: half.halve(read.file("model.onnx"), precision).graph}
    if part.report:
        files[part.report] = b"<html>"
    bundle.with_engine(read, part, files, path)


def row(shown: str, name: str) -> list[str]:
    return next(line for line in shown.splitlines() if line.strip().startswith(name)).split()


def test_engines_are_shown_with_what_was_proven(packed: Path) -> None:
    parity = {"passed": True, "cosine_min": 0.99912, "cosine_mean": 0.99987, "map": {"change_points": -0.03}}
    add(packed, "fp16", "onnxruntime", parity=parity, report="fp16.html")
    add(packed, "fp16", "tensorrt", parity={"passed": False, "cosine_min": None, "cosine_mean": 0.5})
    add(packed, "bf16", "tensorrt")
    shown = inspect(packed)
    assert shown.exit_code == 0, shown.exception
    size = f"{len(normed_graph.build()) / 1e6:.1f}"
    assert row(shown.output, "onnxruntime-fp32") == [
        *("onnxruntime-fp32", "model.onnx", size, "MB", "yes", "1.000000", "-", "-")
    ]
    assert row(shown.output, "onnxruntime-fp16")[4:] == ["yes", "0.999120", "0.999870", "-0.03", "fp16.html"]
    assert row(shown.output, "tensorrt-fp16")[4:] == ["failed", "-", "0.500000", "-"]
    assert row(shown.output, "tensorrt-bf16")[4:] == ["not", "yet", "-", "-", "-"]


def test_what_a_bundle_says_of_itself_is_told_in_lines_one_can_read(tmp_path: Path) -> None:
    path = small_bundle.write(
        tmp_path / "normed.zip",
        normed_graph.build(),
        parity={"cosine_min": 0.9999998, "batches": [1, 2, 7], "failures": []},
        provenance={"recipe": {"seed": 3, "model": {"depth": 2, "split": 1}}, "start": ""},
        metrics={"cmc": [0.125] * 50, "trials": [{"trial": 0, "hits": [4] * 50}, {"trial": 1, "hits": []}]},
    )
    lines = inspect(path).output.splitlines()
    assert lines[lines.index("parity of the model") :][:4] == [
        *("parity of the model", "  batches            1 2 7"),
        *("  cosine_min         0.9999998", "  failures           -"),
    ]
    assert lines[lines.index("provenance") :][:5] == [
        *("provenance", "  recipe", "    model              depth 2, split 1", "    seed               3"),
        "  start              -",
    ]
    assert lines[lines.index("metrics") :][:5] == [
        *("metrics", "  cmc                (50 of them)", "  trials"),
        *("    hits (50 of them), trial 0", "    hits -, trial 1"),
    ]


def test_graphs_are_shown_each_once(packed: Path) -> None:
    add(packed, "fp16", "onnxruntime")
    add(packed, "fp16", "tensorrt")
    lines = inspect(packed).output.splitlines()
    assert [line for line in lines if line in {"model.onnx", "fp16.onnx"}] == ["model.onnx", "fp16.onnx"]
    told = lines[lines.index("fp16.onnx") :]
    assert row("\n".join(told), "takes")[:3] == ["takes", "images", "uint8"]
    assert "% fp16, " in next(line for line in told if line.strip().startswith("weights"))
    assert "2 Conv" in next(line for line in told if line.strip().startswith("operators"))


def test_a_model_that_nobody_proved_says_so(tmp_path: Path) -> None:
    for parity, said in (({}, "no"), ({"passed": False}, "no"), ({"passed": True}, "yes")):
        path = small_bundle.write(tmp_path / "plain.zip", normed_graph.build(), parity=parity)
        assert row(inspect(path).output, "onnxruntime-fp32")[4] == said


def test_the_manifest_is_printed_as_it_is(packed: Path) -> None:
    add(packed, "bf16", "tensorrt")
    told = json.loads(inspect(packed, "--json").output)
    assert told["engines"][0]["precision"] == "bf16"
    assert told["space_id"] == bundle.read(packed).space_id


@pytest.mark.parametrize("in_engine", [False, True])
def test_operators_of_a_library_are_refused(packed: Path, tmp_path: Path, in_engine: bool) -> None:
    proto = onnx.load_from_string(normed_graph.build())
    proto.graph.node.append(helper.make_node("Gelu", ["row"], ["more"], domain="com.microsoft"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path = tmp_path / "strange.zip"
    if in_engine:
        part = EnginePart(runtime="onnxruntime", precision="int8", file="int8.onnx")
        bundle.with_engine(bundle.read(packed), part, {"int8.onnx": proto.SerializeToString()}, path)
    else:
        small_bundle.write(path, proto.SerializeToString())
    shown = inspect(path)
    assert isinstance(shown.exception, BundleCorrupt)
    assert "operators from com.microsoft" in shown.exception.message
    assert ("int8.onnx" if in_engine else "model.onnx") in shown.exception.message


def test_without_onnx_all_but_the_graphs_is_shown(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "export.graph_summary", raising=False)
    monkeypatch.delattr("export.graph_summary", raising=False)
    shown = inspect(packed)
    assert shown.exit_code == 0, shown.exception
    assert "graphs are not looked at: that needs onnx" in shown.output
    assert row(shown.output, "onnxruntime-fp32")
