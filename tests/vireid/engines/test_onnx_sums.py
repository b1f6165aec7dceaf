"""Sums of bytes: what the processor says of them, and what ONNX Runtime really makes of them here."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from vireid.engines import onnx_sums

DEEP = 256  # so many products of 255 and 127 are far beyond 16 bits in pairs


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n", True),
        ("flags\t\t: avx2 avx_vnni\n", True),
        ("flags\t\t: avx2 avx512f avx512bw\n", False),
        ("flags\t\t: avx2 avx_vnni\nflags\t\t: avx2\n", False),
        ("model name\t: one with avx_vnni\n", False),
        ("", False),
    ],
)
def test_only_a_processor_that_says_so_sums_bytes_whole(tmp_path: Path, words: str, whole: bool) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(words)
    assert onnx_sums.whole(path) is whole


def test_where_nobody_can_tell_sums_are_not_trusted(tmp_path: Path) -> None:
    assert not onnx_sums.whole(tmp_path / "none")


def test_sums_of_bytes_are_right_by_the_settings_of_this_machine() -> None:
    weight = np.full((DEEP, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["bytes", "weight"], ["sums"])],
        "sums",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, [4, DEEP])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [4, 16])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    for name, value in onnx_sums.settings().items():
        options.add_session_config_entry(name, value)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (sums,) = session.run(None, {"bytes": np.full((4, DEEP), 255, np.uint8)})
    assert (sums == 255 * 127 * DEEP).all()
