"""Eight bits against an oracle in NumPy: scales, noughts, biases; what is left out stays fp32; what is rounded is near."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export import grids, layers, qdq, quantize, ranges
from export.calibration_images import CalibrationImages
from export.quantize import Quantiser
from export.trial import Trial
from tests.export import small_graph
from vireid.errors import BundleCorrupt, ExportError

SCHEMES = ("onnxruntime-int8", "tensorrt-int8", "tensorrt-fp8")


@pytest.fixture(scope="module")
def calibration() -> CalibrationImages:
    images, modality, _ = small_graph.pictures(people=8, each=2)
    return CalibrationImages(images, modality)


@pytest.fixture(scope="module")
def prepared(calibration: CalibrationImages) -> dict[str, Quantiser]:
    graph = small_graph.build()
    return {scheme: quantize.prepare(graph, scheme, calibration) for scheme in SCHEMES}


def constants(graph: bytes) -> dict[str, np.ndarray]:
    proto = onnx.load_from_string(graph)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def kernel_of(proto: onnx.ModelProto, layer: str) -> str:
    node = next(node for node in proto.graph.node if node.output[0] == layer)
    return str(node.input[1])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_layer_is_found_and_rounded(prepared: dict[str, Quantiser], scheme: str) -> None:
    quantiser = prepared[scheme]
    assert tuple(layer.name for layer in quantiser.layers) == small_graph.LAYERS
    proto = onnx.load_from_string(quantiser.graph())
    onnx.checker.check_model(proto, full_check=True)
    held = {tensor.name for tensor in proto.graph.initializer}
    assert not [name for name in small_graph.LAYERS if kernel_of(proto, name) in held]


@pytest.mark.parametrize("scheme", ["onnxruntime-int8", "tensorrt-int8"])
def test_int8_is_near_its_source_on_people_it_was_not_calibrated_on(
    prepared: dict[str, Quantiser], scheme: str
) -> None:
    images, modality, _ = small_graph.pictures(people=6, each=2, seed=9)
    trial = Trial(small_graph.build(), images, modality, fused=prepared[scheme].scheme.fused)
    cosine = trial.cosine(prepared[scheme].graph())
    assert 0.995 < cosine < 1 - 1e-7


def test_fp8_rounds_maps_as_e4m3_does(prepared: dict[str, Quantiser], calibration: CalibrationImages) -> None:
    quantiser = prepared["tensorrt-fp8"]
    shown = onnx.load_from_string(quantiser.graph([quantiser.layers[-1]]))
    names = ["four.relu", "four.relu.restored"]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values, restored = session.run(names, {"images": calibration.images, "modality": calibration.modality})
    scale = values.max() / 448
    expected = (values / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * scale
    np.testing.assert_allclose(restored, expected, rtol=1e-5, atol=1e-6)
    assert (restored != values).any()


def test_fp8_is_tried_as_the_graph_says(
    prepared: dict[str, Quantiser], calibration: CalibrationImages
) -> None:
    few = calibration.first(4)
    graph = prepared["tensorrt-fp8"].graph()
    trial = Trial(small_graph.build(), few.images, few.modality, fused=False)
    given = {"images": few.images, "modality": few.modality}
    (expected,) = ReferenceEvaluator(onnx.load_from_string(graph)).run(None, given)
    np.testing.assert_allclose(trial.rows(graph), expected, atol=1e-3)


def test_work_is_counted_as_on_paper(prepared: dict[str, Quantiser]) -> None:
    pixels, kernel = 16 * 8, 9 * 16
    counts = [layer.macs for layer in prepared["onnxruntime-int8"].layers]
    assert counts == [pixels * kernel * 3, *[pixels * kernel * 16] * 5]


@pytest.mark.parametrize(("scheme", "top"), [("tensorrt-int8", 127.0), ("tensorrt-fp8", 448.0)])
def test_weights_have_a_scale_for_each_channel_evenly_around_nought(
    prepared: dict[str, Quantiser], scheme: str, top: float
) -> None:
    found, source = constants(prepared[scheme].graph()), constants(small_graph.build())
    for name in small_graph.LAYERS:
        weight = source[f"{name}.w"]
        expected = np.abs(weight).max(axis=(1, 2, 3)) / top
        np.testing.assert_allclose(found[f"{name}.weight.restored.scale"], expected, rtol=1e-6)
        assert not found[f"{name}.weight.restored.zero"].astype(np.float32).any()
        rounded = found[f"{name}.weight.restored.rounded"].astype(np.float32)
        error = np.abs(rounded * expected[:, None, None, None] - weight)
        # half a step of int8; 2^-4 of the value, or half the least step, of E4M3
        step = expected[:, None, None, None]
        allowed = 0.5 * step if top == 127.0 else np.maximum(np.abs(weight) / 16, step * 2.0**-10)
        assert (error <= allowed * 1.0001).all(), name


def test_maps_for_onnxruntime_have_nought_on_their_grid_and_reach_what_was_seen(
    prepared: dict[str, Quantiser], calibration: CalibrationImages
) -> None:
    quantiser = prepared["onnxruntime-int8"]
    found = constants(quantiser.graph())
    shown = onnx.load_from_string(small_graph.build())
    maps = ["pixels", "stem.relu", "one.relu", "two", "two.relu", "last"]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in maps)
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(maps, {"images": calibration.images, "modality": calibration.modality})
    for name, seen in zip(maps, values, strict=True):
        low, high = min(seen.min(), 0.0), max(seen.max(), 0.0)
        assert found[f"{name}.scale"] == pytest.approx((high - low) / 255, rel=1e-5), name
        assert found[f"{name}.zero"].dtype == np.uint8
        assert abs(int(found[f"{name}.zero"]) + low / found[f"{name}.scale"]) <= 0.5 + 1e-3, name


def test_maps_for_tensorrt_lie_evenly_around_nought(prepared: dict[str, Quantiser]) -> None:
    found = constants(prepared["tensorrt-int8"].graph())
    noughts = [values for name, values in found.items() if name.endswith(".zero")]
    assert noughts
    assert all(values.dtype == np.int8 and not values.any() for values in noughts)


def test_a_bias_for_onnxruntime_is_an_int32_on_the_grid_of_its_products(
    prepared: dict[str, Quantiser],
) -> None:
    quantiser = prepared["onnxruntime-int8"]
    found, source = constants(quantiser.graph()), constants(small_graph.build())
    weight, mean = source["one.w"], quantiser.spreads["stem.relu"].mean
    scale = found["one.weight.restored.scale"]
    restored = found["one.weight.restored.rounded"] * scale[:, None, None, None]
    lost = np.einsum("oihw,i->o", weight.astype(np.float64) - restored, mean)
    grid = scale * found["stem.relu.scale"]
    assert found["one.bias.restored.rounded"].dtype == np.int32
    np.testing.assert_allclose(
        found["one.bias.restored.rounded"] * grid, source["one.b"] + lost, atol=0.51 * float(grid.max())
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_left_out_stay_float(prepared: dict[str, Quantiser], scheme: str) -> None:
    quantiser = prepared[scheme]
    left = {"three", "last"}
    graph = quantiser.graph([layer for layer in quantiser.layers if layer.name not in left])
    proto, source = onnx.load_from_string(graph), constants(small_graph.build())
    held = constants(graph)
    for name in small_graph.LAYERS:
        kernel = kernel_of(proto, name)
        assert (kernel in held) == (name in left), name
        if name in left:
            np.testing.assert_array_equal(held[kernel], source[f"{name}.w"])


def test_onnxruntime_fuses_all_layers_and_the_inner_sum(
    prepared: dict[str, Quantiser], tmp_path: object
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/optimised.onnx"
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(prepared["onnxruntime-int8"].graph(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kinds.count("QLinearConv") == len(small_graph.LAYERS)
    assert kinds.count("Conv") == 0
    assert kinds.count("QLinearAdd") == 2


def test_nothing_rounded_gives_the_source(
    prepared: dict[str, Quantiser], calibration: CalibrationImages
) -> None:
    graph = prepared["onnxruntime-int8"].graph([])
    assert not [n for n in onnx.load_from_string(graph).graph.node if n.op_type == "QuantizeLinear"]
    trial = Trial(small_graph.build(), calibration.images, calibration.modality)
    assert trial.cosine(graph) == pytest.approx(1.0, abs=1e-6)


def test_the_way_to_calibrate_is_the_one_that_comes_nearest(
    prepared: dict[str, Quantiser], calibration: CalibrationImages
) -> None:
    way, found = quantize.choose_way(prepared["onnxruntime-int8"], small_graph.build(), calibration)
    assert set(found) == set(ranges.WAYS)
    assert found[way] == max(found.values())


def test_a_rare_value_stretches_minmax_and_no_other_way() -> None:
    values = np.random.default_rng(3).normal(0, 1, 200_000).astype(np.float32)
    values[7] = 1000.0
    spread = ranges.Spread(float(values.min()), 1000.0, values, np.zeros(1))
    assert ranges.reach(spread, "minmax")[1] == 1000.0
    low, high = ranges.reach(spread, "percentile")
    assert (low, high) == (pytest.approx(-3.7, abs=0.4), pytest.approx(3.7, abs=0.4))
    assert ranges.reach(spread, "entropy")[1] < 100.0


def test_a_channel_without_weights_has_a_scale_that_can_be_divided_by() -> None:
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = 0.5
    scale = grids.scales(weight, 0, "int8")
    np.testing.assert_allclose(scale, [1.0, 0.5 / 127])
    assert grids.rounded(weight, scale, 0, "int8")[1].tolist() == [[[127]]] * 3


def test_a_bias_far_beyond_its_weights_still_fits_an_int32(calibration: CalibrationImages) -> None:
    proto = onnx.load_from_string(small_graph.build())
    for tensor in proto.graph.initializer:
        if tensor.name == "one.w":
            values = numpy_helper.to_array(tensor).copy()
            values[3] *= 1e-9
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    quantiser = quantize.prepare(proto.SerializeToString(), "onnxruntime-int8", calibration)
    found = constants(quantiser.graph())
    steps, scale = found["one.bias.restored.rounded"], found["one.bias.restored.scale"]
    assert np.abs(steps).max() <= 2**30
    np.testing.assert_allclose(steps[3] * scale[3], constants(small_graph.build())["one.b"][3], rtol=1e-4)


def test_what_is_no_fp32_graph_is_refused(
    prepared: dict[str, Quantiser], calibration: CalibrationImages
) -> None:
    with pytest.raises(BundleCorrupt, match="no ONNX file"):
        quantize.prepare(b"no graph", "onnxruntime-int8", calibration)
    with pytest.raises(ExportError, match="not fp32"):
        quantize.prepare(prepared["onnxruntime-int8"].graph(), "onnxruntime-int8", calibration)
    with pytest.raises(ExportError, match="scheme 'int4'"):
        quantize.prepare(small_graph.build(), "int4", calibration)


def test_a_graph_that_gives_nan_is_refused_before_it_is_rounded(calibration: CalibrationImages) -> None:
    proto = onnx.load_from_string(small_graph.build())
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "two.w")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(ExportError, match="holds NaN or infinity on a calibration image"):
        quantize.prepare(proto.SerializeToString(), "onnxruntime-int8", calibration)


def test_sums_of_constants_become_biases() -> None:
    proto = onnx.load_from_string(small_graph.build())
    node = next(node for node in proto.graph.node if node.output[0] == "last")
    node.output[0] = "last.bare"
    shift = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    proto.graph.initializer.append(numpy_helper.from_array(shift, "shift.last"))
    place = list(proto.graph.node).index(node) + 1
    proto.graph.node.insert(place, onnx.helper.make_node("Add", ["shift.last", "last.bare"], ["last"]))
    model = layers.plain(proto.SerializeToString())
    assert "last.bare" not in {name for one in model.graph.node for name in one.output}
    bias = next(t for t in model.graph.initializer if t.name == "last.bias")
    np.testing.assert_allclose(
        numpy_helper.to_array(bias), constants(small_graph.build())["last.b"] + np.arange(16), rtol=1e-6
    )
    assert [layer.name for layer in layers.find(model)] == list(small_graph.LAYERS)
    images, modality, _ = small_graph.pictures(people=4, each=1)
    assert Trial(proto.SerializeToString(), images, modality).cosine(
        model.SerializeToString()
    ) == pytest.approx(1.0, abs=1e-6)


def test_maps_that_the_scheme_rounds_are_those_a_graph_rounds(prepared: dict[str, Quantiser]) -> None:
    for quantiser in prepared.values():
        wanted = qdq.maps(quantiser.model.graph, quantiser.layers, quantiser.scheme)
        made = onnx.load_from_string(quantiser.graph()).graph.node
        assert {node.input[0] for node in made if node.op_type == "QuantizeLinear"} == wanted
