"""Every method's network, in every precision: valid ONNX that runs where it can, and that TensorRT builds."""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from export import half, rounding, to_onnx, to_tensorrt
from export.parity import draw_probes
from export.to_tensorrt import Order
from training import models, settings
from training.method_settings import SETTINGS
from training.methods import METHODS
from training.settings import ModelSettings
from vireid import bundle
from vireid.engines import tensorrt_library
from vireid.engines.tensorrt_buckets import Bucket

PRECISIONS = ("fp32", "fp16", "bf16")
BAR = 0.999


def small(name: str) -> ModelSettings:
    """A network of that kind, small enough to export in seconds."""
    if name.startswith(("vit", "dinov2")):
        patch = int(name[-2:])
        pooling = "class" if name.startswith("vit") else "class-average"
        return ModelSettings(
            name=name, width=0.34, depth=2, height=4 * patch, columns=2 * patch, pooling=pooling
        )
    more = {"stripes": 2, "stripe_dim": 64} if name.startswith("twin") else {}
    return ModelSettings(name=name, width=0.125, height=32, columns=16, **more)


def of_method(method: str) -> str:
    """The network of a method's small recipe."""
    named = [each for each in settings.recipes() if each.startswith("synthetic-")]
    chosen = next(each for each in sorted(named) if settings.read(each).method.name == method)
    return settings.read(chosen).model.name


QUICK = sorted({of_method(method) for method in METHODS} | {"vit-tiny16"})
# those of the paper's size, and the kinds no small recipe has
SLOW = ["dinov2-small14", "one-stream-resnet50", "twin-tails-resnet50", "two-stream-resnet50"]
EVERY = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@cache
def source(name: str) -> bytes:
    """The fp32 graph of a network whose batch norms have seen figures."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    wanted = small(name)
    network = models.build(wanted)
    with torch.no_grad():
        for seed in range(12):
            shown = draw_probes(wanted.height, wanted.columns, count=8, seed=seed)
            network.features(torch.from_numpy(shown.images), torch.from_numpy(shown.modality))
    return to_onnx.to_graph(network.eval())


@cache
def graph(name: str, precision: str) -> bytes:
    return source(name) if precision == "fp32" else half.halve(source(name), half_of(precision)).graph


def half_of(precision: str) -> half.Half:
    return "fp16" if precision == "fp16" else "bf16"


def rows(made: bytes, *, reference: bool = False, count: int = 6) -> np.ndarray:
    """What a graph gives for figures of both modalities."""
    proto = onnx.load_from_string(made)
    height, width = (dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim[1:3])
    shown = draw_probes(height, width, count=count, seed=40)
    given = {"images": shown.images, "modality": shown.modality}
    if reference:
        return ReferenceEvaluator(proto).run(None, given)[0]
    return onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, given)[0]


def test_every_method_and_its_network_is_tried() -> None:
    assert set(METHODS) == set(SETTINGS)
    assert {of_method(method) for method in METHODS} <= set(QUICK)
    kinds = {name.rsplit("-", 1)[0] for name in models.MODELS if "resnet" in name}
    assert {name.rsplit("-", 1)[0] for name in [*QUICK, *SLOW] if "resnet" in name} == kinds
    assert not set(QUICK) & set(SLOW)


@pytest.mark.parametrize("name", EVERY)
def test_every_precision_is_valid_and_near(name: str) -> None:
    expected = rows(source(name))
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    for precision in PRECISIONS:
        made = graph(name, precision)
        onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
        # bf16 runs on no CPU of onnxruntime
        found = rows(made, reference=precision == "bf16")
        assert (found * expected).sum(1).min() >= BAR, precision
        assert found.dtype == np.float32
    assert len(graph(name, "fp16")) < 0.65 * len(source(name))


@pytest.mark.parametrize("name", EVERY)
def test_the_trunk_is_half_and_the_head_is_not(name: str) -> None:
    made = half.halve(source(name), "bf16")
    proto = onnx.load_from_string(made.graph)
    typed = onnx.shape_inference.infer_shapes(proto).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed.value_info}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert {kinds[node.output[0]] for node in convolutions} == {onnx.TensorProto.BFLOAT16}
    careful = {"ReduceMean", "ReduceL2", "Softmax", "LayerNormalization", "Pow", "BatchNormalization"}
    inside = {node.op_type: kinds.get(node.output[0]) for node in proto.graph.node if node.op_type in careful}
    assert set(inside.values()) == {onnx.TensorProto.FLOAT}
    # of twin tails, what projects a stripe's row belongs to the head
    assert made.full == (2 if name.startswith("twin") else 0)
    assert not made.kept


def test_attention_is_plain() -> None:
    """Masks that hide nothing and guards of a softmax keep engines from seeing attention."""
    found = {node.op_type for node in onnx.load_from_string(source("vit-tiny16")).graph.node}
    assert "Softmax" in found
    assert not found & {"IsNaN", "Where"}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", EVERY)
def test_tensorrt_builds_it(name: str, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    wanted = small(name)
    order = Order(wanted.height, wanted.columns, buckets=(Bucket(1, 2, 8),))
    built = to_tensorrt.build(tensorrt_library.load("tensorrt_rtx"), graph(name, precision), order)
    assert len(built.plan) > 10_000


@cache
def packaged(precision: str) -> bytes:
    made = bundle.read(bundle.default_path()).file("model.onnx")
    return made if precision == "fp32" else half.halve(made, half_of(precision)).graph


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrt_builds_the_packaged_bundle(precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    made = packaged(precision)
    part = bundle.read(bundle.default_path()).manifest.preprocess
    order = Order(part.height, part.width, buckets=(Bucket(1, 2, 8),))
    built = to_tensorrt.build(tensorrt_library.load("tensorrt_rtx"), made, order)
    assert len(built.plan) > len(made)


def test_the_packaged_bundle_comes_near_in_fp16(caplog: pytest.LogCaptureFixture) -> None:
    assert (rows(packaged("fp16")) * rows(packaged("fp32"))).sum(1).min() >= BAR
    assert len(packaged("fp16")) < 0.65 * len(packaged("fp32"))
    assert "stays fp32" not in caplog.text


def test_the_packaged_bundle_comes_near_in_bf16_with_exact_sums() -> None:
    expected = rows(packaged("fp32"), count=24)
    lost = []
    for exact in (False, True):
        halved = half.halve(packaged("fp32"), "bf16", exact=exact)
        found = rows(rounding.spelled_out(halved.graph), count=24)
        lost.append(1 - (found * expected).sum(1).min())
    assert lost[1] < 0.6 * lost[0]
    assert lost[1] <= 1 - BAR
