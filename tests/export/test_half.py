"""Graphs made half: against the source, against rounding by hand, and where half precision cannot hold their values."""

import logging
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export import half, magnitude
from export.half import Half
from tests.export import normed_graph
from vireid.errors import BundleCorrupt, ExportError

KINDS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def to_half(graph: bytes, precision: Half) -> bytes:
    return half.halve(graph, precision).graph


def in_onnxruntime(graph: bytes, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images, "modality": modality})[0]


def in_reference(graph: bytes, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
    return ReferenceEvaluator(onnx.load_from_string(graph)).run(
        None, {"images": images, "modality": modality}
    )[0]


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def types(graph: bytes) -> dict[str, int]:
    """The type of every tensor of a graph."""
    typed = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph), strict_mode=True).graph
    values = [*typed.value_info, *typed.input, *typed.output]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in typed.initializer}


def through_half(precision: str) -> np.ndarray:
    """The same network computed by hand, each map of the trunk rounded to half precision."""
    import ml_dtypes

    kind = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}[precision]

    def rounded(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(kind).astype(np.float64)

    source = onnx.load_from_string(normed_graph.build()).graph
    held = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in source.initializer}
    images, modality = normed_graph.pictures()

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        scale, shift, mean, variance = (held[f"{name}_norm.{at}"] for at in range(4))
        factor = scale / np.sqrt(variance + 1e-5)
        weight = rounded(held[f"{name}.w"] * factor[:, None, None, None])
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        bias = rounded(shift - mean * factor)
        return rounded(np.einsum("bchwij,ocij->bohw", windows, weight) + bias[:, None, None])

    x = rounded((images.transpose(0, 3, 1, 2) - 120.0) / 60.0)
    first = np.maximum(layer("first", x), 0)
    last = np.maximum(rounded(layer("second", first) + first), 0)
    rows = (last**3).mean((2, 3)) + held["shifts"][modality]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_rows_are_those_of_a_network_rounded_by_hand(precision: half.Half) -> None:
    images, modality = normed_graph.pictures()
    made = to_half(normed_graph.build(), precision)
    found = in_reference(made, images, modality)
    source = in_onnxruntime(normed_graph.build(), images, modality)
    by_hand = through_half(precision)
    assert found.dtype == np.float32
    assert cosines(found, source).min() >= 0.999
    # rounding by hand comes nearer than the source does: what differs is the order of sums
    assert (1 - cosines(found, by_hand)).max() < 0.5 * (1 - cosines(source, by_hand)).max()


def test_fp16_runs_in_onnxruntime_for_any_batch() -> None:
    made = to_half(normed_graph.build(), "fp16")
    images, modality = normed_graph.pictures(40)
    source = in_onnxruntime(normed_graph.build(), images, modality)
    for count in (1, 7, 40):
        found = in_onnxruntime(made, images[:count], modality[:count])
        assert cosines(found, source[:count]).min() >= 0.999


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_trunk_is_half_head_and_pixels_are_not(precision: half.Half) -> None:
    source = normed_graph.build()
    made = half.halve(source, precision)
    found, kind = types(made.graph), KINDS[precision]
    proto = onnx.load_from_string(made.graph)
    assert (made.half, made.full, made.kept) == (2, 0, {})
    assert not [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    for name in ("first_norm", "first_relu", "second_norm", "sum", "last"):
        assert found[name] == kind
    for name in ("numbers", "light", "cubes", "pooled", "row", "length", "embeddings"):
        assert found[name] == TensorProto.FLOAT
    assert found["images"] == TensorProto.UINT8
    weights = [each for each in proto.graph.initializer if len(each.dims) == 4]
    assert {each.data_type for each in weights} == {kind}
    assert len(made.graph) < len(source)
    # one cast into the trunk and one out of it, after the bytes have become numbers
    assert [node.op_type for node in proto.graph.node[:2]] == ["Cast", "Transpose"]
    assert [node.input[0] for node in proto.graph.node if node.op_type == "Cast"] == [
        "images",
        "light",
        "last",
    ]


def test_the_same_graph_gives_the_same_bytes_and_the_source_stays_as_it_is() -> None:
    source = normed_graph.build()
    kept = bytes(source)
    assert to_half(source, "fp16") == to_half(source, "fp16")
    assert source == kept


@pytest.mark.parametrize("opset", [18, 20, 21, 22])
def test_bf16_brings_a_graph_to_the_opset_whose_convolutions_know_it(opset: int) -> None:
    made = onnx.load_from_string(to_half(normed_graph.build(opset=opset), "bf16"))
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 22)]
    assert (
        onnx.load_from_string(to_half(normed_graph.build(opset=opset), "fp16")).opset_import[0].version
        == opset
    )


def test_maps_that_fp16_cannot_hold_stay_fp32_in_words(caplog: pytest.LogCaptureFixture) -> None:
    source = normed_graph.build(loud=1e6)
    images, modality = normed_graph.pictures()
    with caplog.at_level(logging.WARNING):
        made = half.halve(source, "fp16")
    assert "louder" in made.kept
    assert made.kept["louder"] > magnitude.FP16_MAX
    assert "louder stays fp32" in caplog.text
    assert "fp16 holds 6.1e-05 to 65504" in caplog.text
    found = types(made.graph)
    assert found["louder"] == TensorProto.FLOAT
    assert found["first_norm"] == TensorProto.FLOAT16
    assert made.half >= 1
    expected = in_onnxruntime(source, images, modality)
    assert cosines(in_onnxruntime(made.graph, images, modality), expected).min() >= 0.999


def test_maps_near_the_end_of_fp16_stay_fp32_too() -> None:
    calm = half.halve(normed_graph.build(), "fp16")
    assert not calm.kept
    greatest = magnitude.beyond(onnx.load_from_string(normed_graph.build()), {"first_relu"}, limit=0.0)[
        "first_relu"
    ]
    near = 0.5 * magnitude.FP16_MAX / greatest
    assert "louder" in half.halve(normed_graph.build(loud=near), "fp16").kept


def test_bf16_holds_them() -> None:
    source = normed_graph.build(loud=1e6)
    made = half.halve(source, "bf16")
    assert (made.kept, made.half) == ({}, 2)
    images, modality = normed_graph.pictures()
    expected = in_onnxruntime(source, images, modality)
    assert cosines(in_reference(made.graph, images, modality), expected).min() >= 0.999


def test_weights_that_are_large_only_until_they_are_folded_become_half() -> None:
    made = half.halve(normed_graph.build(weight=1e6), "fp16")
    assert (made.half, made.kept) == (2, {})


def test_weights_that_fp16_cannot_hold_stay_fp32() -> None:
    # the second convolution's weights grow as the maps before it shrink, and those lose their bits
    made = half.halve(normed_graph.build(loud=1e-7), "fp16")
    assert set(made.kept) == {"second_norm.weight", "louder"}
    assert made.kept["louder"] < magnitude.FP16_LEAST
    assert made.kept["second_norm.weight"] > magnitude.FP16_MAX
    images, modality = normed_graph.pictures()
    expected = in_onnxruntime(normed_graph.build(loud=1e-7), images, modality)
    assert cosines(in_onnxruntime(made.graph, images, modality), expected).min() >= 0.999


def changed(**replaced: Any) -> bytes:
    proto = onnx.load_from_string(normed_graph.build())
    for tensor in proto.graph.initializer:
        if tensor.name in replaced:
            values = np.full_like(numpy_helper.to_array(tensor), replaced[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return proto.SerializeToString()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_that_are_no_numbers_are_refused(precision: half.Half, value: float) -> None:
    with pytest.raises(ExportError, match=r"first_norm.* NaN or infinity"):
        to_half(changed(**{"first_norm.1": value}), precision)


def test_a_graph_of_which_nothing_can_be_half_is_refused() -> None:
    with pytest.raises(ExportError, match=r"no convolution or product .* are beyond it, take bf16"):
        to_half(changed(std=1e-7), "fp16")


def test_what_is_no_fp32_graph_is_refused() -> None:
    source = normed_graph.build()
    with pytest.raises(ExportError, match="not fp32: halve the bundle's source graph"):
        to_half(to_half(source, "fp16"), "fp16")
    with pytest.raises(ExportError, match="not fp32"):
        to_half(to_half(source, "bf16"), "fp16")
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        to_half(b"\x00never", "fp16")
    with pytest.raises(ExportError, match="'fp8' was asked for; a graph becomes fp16 or bf16"):
        to_half(source, "fp8")  # type: ignore[arg-type]


def test_a_quantised_graph_is_refused() -> None:
    proto = onnx.load_from_string(normed_graph.build())
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1), "scale"))
    proto.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "zero"))
    proto.graph.node.insert(4, helper.make_node("QuantizeLinear", ["light", "scale", "zero"], ["code"]))
    with pytest.raises(ExportError, match="not fp32"):
        to_half(proto.SerializeToString(), "fp16")


def test_a_graph_that_does_not_run_is_refused() -> None:
    proto = onnx.load_from_string(normed_graph.build())
    proto.graph.node[4].input[1] = "nowhere"
    with pytest.raises(ExportError, match="does not run in onnxruntime"):
        to_half(proto.SerializeToString(), "fp16")
