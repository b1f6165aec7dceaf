"""A tiny ONNX bundle: column means, projected, shifted by modality, unit; and TensorRT over fakes that runs plans of it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.vireid.engines import fake_tensorrt as fake
from tests.vireid.engines.fake_cuda import FakeCuda
from tests.vireid.engines.fake_plans import BUCKETS, GPU, Keep
from tests.vireid.engines.fake_tensorrt import FakeTensorRt, plan_bytes
from tests.vireid.engines.paced import PASSED, Clock, Paced
from vireid import bundle
from vireid.bundle import SOURCE, EnginePart
from vireid.engines import tensorrt, tensorrt_library
from vireid.engines.base import EngineInfo
from vireid.engines.choice import Choice, choose
from vireid.engines.openvino import core
from vireid.engines.plans import PlanStore, Sidecar
from vireid.engines.tensorrt import Choices, TensorRtEngine
from vireid.engines.tensorrt_driver import CudaDriver, Gpu
from vireid.errors import VireidError

HEIGHT, WIDTH, DIM = 32, 16, 8


def tiny_graph(
    batch: str | int = "batch",
    images: str = "images",
    output: str = "embeddings",
    declared: tuple[int | str, ...] = (DIM,),
    image_type: int = TensorProto.UINT8,
    output_type: int = TensorProto.FLOAT,
    normalise: bool = True,
    height: int = HEIGHT,
    one_stream: bool = False,
) -> onnx.ModelProto:
    random = np.random.default_rng(4)
    weights = {
        "scale": np.float32(1 / 255),
        "axes": np.array([1]),
        "flat": np.array([0, WIDTH * 3]),
        "projection": random.standard_normal((WIDTH * 3, DIM)).astype(np.float32),
        "shifts": random.standard_normal((2, DIM)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", [images], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["light"]),
        helper.make_node("ReduceMean", ["light", "axes"], ["columns"], keepdims=0),
        helper.make_node("Reshape", ["columns", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["projected"]),
        helper.make_node("Gather", ["shifts", "modality"], ["shift"], axis=0),
        helper.make_node("Add", ["projected", "shift"], ["rows"]),
        helper.make_node("LpNormalization", ["rows"], ["unit"], axis=1, p=2)
        if normalise
        else helper.make_node("Identity", ["rows"], ["unit"]),
        helper.make_node("Cast", ["unit"], [output], to=output_type),
    ]
    if one_stream:  # the modality is asked for, and nothing reads it
        nodes = [node for node in nodes if node.op_type not in ("Gather", "Add")]
        nodes[4].output[0] = "rows"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(images, image_type, [batch, height, WIDTH, 3]),
            helper.make_tensor_value_info("modality", TensorProto.INT64, [batch]),
        ],
        [helper.make_tensor_value_info(output, output_type, [batch, *declared])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def graph_of() -> Callable[..., onnx.ModelProto]:
    """Draw the tiny graph, or one that differs in what is named."""
    return tiny_graph


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., bundle.Bundle]:
    """Write a graph's bytes as a bundle and read it back."""

    def make(graph: bytes, dim: int = DIM) -> bundle.Bundle:
        words: dict[str, Any] = {
            "name": "tiny",
            "method": "none",
            "model": {"opset": 18, "dim": dim},
            "preprocess": {"height": HEIGHT, "width": WIDTH, "mean": [0, 0, 0], "std": [1, 1, 1]},
            "files": {},
            "parity": {"passed": True},
        }
        manifest = bundle.Manifest.model_validate(words)
        return bundle.read(bundle.write(tmp_path / "tiny.zip", manifest, {"model.onnx": graph}))

    return make


@pytest.fixture
def tiny(bundle_of: Callable[..., bundle.Bundle]) -> bundle.Bundle:
    return bundle_of(tiny_graph().SerializeToString())


def quantised() -> onnx.ModelProto:
    """The tiny graph with its product in eight bits: what goes in, the weights and what comes out."""
    model = tiny_graph()
    graph = model.graph
    weights = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    scales = np.abs(weights["projection"]).max(axis=0) / 127
    whole = np.clip(np.rint(weights["projection"] / scales), -127, 127).astype(np.int8)
    more = {
        "whole": whole,
        "scales": scales.astype(np.float32),
        "nought": np.zeros(DIM, np.int8),
        "step": np.float32(1 / 255),
        "zero": np.uint8(0),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in more.items())
    product = next(at for at, node in enumerate(graph.node) if node.op_type == "MatMul")
    graph.node[product].input[:] = ["features_again", "projection_again"]
    for node in (
        helper.make_node("DequantizeLinear", ["whole", "scales", "nought"], ["projection_again"], axis=1),
        helper.make_node("DequantizeLinear", ["features_whole", "step", "zero"], ["features_again"]),
        helper.make_node("QuantizeLinear", ["features", "step", "zero"], ["features_whole"]),
    ):
        graph.node.insert(product, node)
    kept = [entry for entry in graph.initializer if entry.name != "projection"]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model


def halved() -> onnx.ModelProto:
    """The tiny graph with its product in half precision."""
    model = tiny_graph()
    graph = model.graph
    product = next(at for at, node in enumerate(graph.node) if node.op_type == "MatMul")
    graph.node[product].input[:] = ["features_half", "projection_half"]
    graph.node[product].output[:] = ["projected_half"]
    graph.node.insert(product + 1, helper.make_node("Cast", ["projected_half"], ["projected"], to=1))
    for name in ("projection", "features"):
        graph.node.insert(product, helper.make_node("Cast", [name], [f"{name}_half"], to=TensorProto.FLOAT16))
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def part_of(tiny: bundle.Bundle, tmp_path: Path) -> Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]]:
    """Add an engine to the tiny bundle by name, and the map until which it is fp32; bf16 is skipped where a CPU has none."""

    def add(name: str) -> tuple[bundle.Bundle, bundle.EnginePart]:
        runtime, precision, *until = name.split("-")
        if precision == "bf16" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this CPU has no bf16")
        graphs = {"fp16": halved, "int8": quantised}
        own = graphs.get(precision)
        file = f"{precision}.onnx" if own else tiny.manifest.model.file
        words = {"runtime": runtime, "precision": precision, "file": file, "fp32_until": "".join(until)}
        part = bundle.EnginePart.model_validate(words)
        files = {file: own().SerializeToString()} if own else {}
        return bundle.read(bundle.with_engine(tiny, part, files, tmp_path / "parts.zip")), part

    return add


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def trt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    module = FakeTensorRt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def choices(tmp_path: Path) -> Choices:
    return Choices(folder=tmp_path / "plans", buckets=BUCKETS, lanes=1, graphs_up_to=3)


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def keep(tiny: bundle.Bundle, choices: Choices) -> Keep:
    """Keep a plan, by default the one that fits."""

    def store(
        plan: bytes | None = None,
        gpu: Gpu = GPU,
        version: str = fake.VERSION,
        proven: bool = True,
        **changes: Any,
    ) -> Path:
        library = tensorrt_library.Library("tensorrt", version, None, None, tensorrt_library.Journal())
        purpose = tensorrt.purpose(tiny.file("model.onnx"), "fp32", library, choices, gpu)
        sidecar = Sidecar(
            purpose=purpose.model_copy(update=changes),
            file="",
            plan="",
            parsed="",
            built_s=1,
            vireid="0",
            parity={"passed": proven},
        )
        return PlanStore(choices.folder).keep(sidecar, plan or plan_bytes())

    return store


@pytest.fixture
def opened(tiny: bundle.Bundle, choices: Choices, cuda: FakeCuda) -> Callable[..., TensorRtEngine]:
    def make(**changes: Any) -> TensorRtEngine:
        return tensorrt.open_engine(
            tiny, "model.onnx", "fp32", replace(choices, **changes), lambda: CudaDriver(cuda)
        )

    return make


@pytest.fixture
def holding(tiny: bundle.Bundle) -> Callable[..., bundle.Bundle]:
    """The tiny bundle, proven, with further engines."""

    def make(*parts: EnginePart, proven: bool = True) -> bundle.Bundle:
        report = PASSED if proven else {}
        manifest = tiny.manifest.model_copy(update={"engines": parts, "parity": report})
        return replace(tiny, manifest=manifest)

    return make


@pytest.fixture
def run() -> Callable[..., Choice]:
    """Choose among engines that take so many seconds an image and hold so many images, or fail to open."""

    def go(
        source: bundle.Bundle,
        takes: Mapping[str, float | VireidError],
        wish: str = "auto",
        device: str = "cpu",
        most: Mapping[str, int] = MappingProxyType({}),
        **more: Any,
    ) -> Choice:
        clock = Clock()

        def opener(_: bundle.Bundle, one: EnginePart | None, where: str, layout: str) -> Paced:
            name = SOURCE if one is None else one.name
            key = f"{name}/{layout}" if f"{name}/{layout}" in takes else name
            found = takes[key]
            if isinstance(found, VireidError):
                raise found
            device_name = "cuda:0" if where == "cuda" else "cpu"
            told = EngineInfo(key, layout, device_name, name.split("-")[1], 1)
            return Paced(clock, found, told, most.get(key, most.get(name, 1000)))

        return choose(source, wish, device, opener=opener, clock=clock, **more)

    return go
