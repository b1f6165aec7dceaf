"""Which plans are opened, and what else is refused before TensorRT is called."""

import hashlib
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.vireid.engines import fake_tensorrt as fake
from tests.vireid.engines.fake_cuda import FakeCuda
from tests.vireid.engines.fake_plans import BUCKETS, GPU, Keep, Opened, batch
from tests.vireid.engines.fake_tensorrt import FakeTensorRt, plan_bytes, rows_of
from vireid import bundle
from vireid.engines import plans, tensorrt, tensorrt_driver, tensorrt_library
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_driver import CudaDriver, Gpu
from vireid.errors import EngineError, MissingExtra, ProviderUnavailable, SettingsError


def test_without_a_driver_nothing_of_tensorrt_is_called(
    tiny: bundle.Bundle, choices: Choices, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()

    def touched(name: str) -> Any:
        raise AssertionError(f"{name} was imported before the driver was asked")

    monkeypatch.setattr(tensorrt_library.importlib, "import_module", touched)
    monkeypatch.setattr(tensorrt_driver, "LIBRARIES", ("libcuda-that-is-not-there.so",))
    with pytest.raises(ProviderUnavailable, match="no NVIDIA driver"):
        tensorrt.open_engine(tiny, "model.onnx", "fp32", choices)


@pytest.mark.parametrize(
    ("name", "code", "match"), [("cuInit", 100, "no CUDA-capable"), ("cuDeviceGet", 1, "invalid")]
)
def test_a_driver_that_does_not_start(cuda: FakeCuda, name: str, code: int, match: str) -> None:
    cuda.fails[name] = code
    with pytest.raises(ProviderUnavailable, match=match):
        CudaDriver(cuda)


def test_no_plan(trt: FakeTensorRt, opened: Opened) -> None:
    with pytest.raises(EngineError, match="holds no fp32 plan") as caught:
        opened()
    assert caught.value.stable_reason == "PLAN_MISSING"


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"version": "11.3.0.2"}, "version '11.3.0.2', expected '11.4.0.106'"),
        ({"gpu": Gpu("NVIDIA Other", "9.0", "13.3")}, "gpu 'NVIDIA Other', expected 'NVIDIA Test'"),
        ({"gpu": Gpu("NVIDIA Test", "8.9", "13.3")}, "sm '8.9', expected '9.0'"),
        ({"recipe": 0}, "recipe 0, expected 1"),
    ],
)
def test_a_plan_of_another_machine_is_not_touched(
    trt: FakeTensorRt, keep: Keep, opened: Opened, changes: dict[str, Any], differs: str
) -> None:
    sidecar = keep(**changes)
    for plan in sidecar.parent.glob("*.plan"):
        plan.unlink()  # whoever reads it fails otherwise
    with pytest.raises(EngineError, match="built for something else") as caught:
        opened()
    assert differs in caught.value.message
    assert "vireid export tensorrt" in caught.value.message
    assert caught.value.stable_reason == "PLAN_MISMATCH"


def test_an_unproven_plan(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep(proven=False)
    with pytest.raises(EngineError, match="not proven") as caught:
        opened()
    assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    given = batch(2)
    np.testing.assert_array_equal(opened(allow_unproven=True).embed(*given), rows_of(*given))


def test_a_plan_that_the_library_refuses(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep(plan_bytes(version="11.3.0"))
    with pytest.raises(EngineError, match="not compatible with this version of TensorRT") as caught:
        opened()
    assert caught.value.stable_reason == "PLAN_MISMATCH"
    keep(b"rubbish")
    with pytest.raises(EngineError, match="magic tag does not match"):
        opened()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"profiles": fake.PROFILES[:2]}, "2 profiles, expected 3"),
        ({"profiles": [[1, 1, 1], [2, 4, 4], [5, 8, 16]]}, "profile 2 for batches"),
        ({"tensors": {"images": ["UINT8", [-1, 4, 4, 3]]}}, "found the tensors"),
    ],
)
def test_a_plan_that_declares_something_else(
    trt: FakeTensorRt, keep: Keep, opened: Opened, changes: dict[str, Any], match: str
) -> None:
    keep(plan_bytes(**changes))
    with pytest.raises(EngineError, match=match):
        opened()


@pytest.mark.parametrize(
    ("name", "kind", "shape"), [("images", "FLOAT", [-1, 32, 16, 3]), ("embeddings", "FLOAT", [-1, 9])]
)
def test_a_plan_with_other_types_or_shapes(
    trt: FakeTensorRt, keep: Keep, opened: Opened, name: str, kind: str, shape: list[int]
) -> None:
    tensors = {
        "images": ["UINT8", [-1, 32, 16, 3]],
        "modality": ["INT64", [-1]],
        "embeddings": ["FLOAT", [-1, 8]],
    }
    keep(plan_bytes(tensors=tensors | {name: [kind, shape]}))
    with pytest.raises(EngineError, match=f"found {name} {kind}"):
        opened()


def test_other_buckets_of_whoever_built_it_are_taken(
    trt: FakeTensorRt, keep: Keep, opened: Opened, choices: Choices
) -> None:
    keep(buckets=((1, 1, 1), (2, 4, 4)), plan=plan_bytes(profiles=fake.PROFILES[:2]))
    engine = opened()
    given = batch(11)
    np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))


# ---- the module ---------------------------------------------------------------------
def test_tensorrt_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtra, match=r"vireid\[tensorrt\]"):
        tensorrt_library.load("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingExtra, match=r"vireid\[tensorrt\] or vireid\[tensorrt-rtx\]"):
        tensorrt_library.load()


def test_an_old_tensorrt(trt: FakeTensorRt) -> None:
    trt.__version__ = "10.16.1"  # type: ignore[misc]
    with pytest.raises(ProviderUnavailable, match=r"found tensorrt 10\.16\.1; version 11"):
        tensorrt_library.load()


def test_a_flavour_that_is_none() -> None:
    with pytest.raises(SettingsError, match="tensorrt_rtx"):
        tensorrt_library.load("rtx")


def test_the_log_tells_errors_once_and_leaves_out_noise() -> None:
    journal = tensorrt_library.Journal()
    for severity, line in [
        (2, "a warning"),
        (1, "the\n  reason"),
        (1, "the reason"),
        (1, "[checkMacros.cpp::catchCudaError::250] Error Code 1"),
        (3, "chatter"),
    ]:
        journal.note(severity, line)
    assert journal.complaint() == "the reason"
    assert journal.complaint() == "it says nothing of why"


def test_plans_of_a_graph_are_told_apart(tiny: bundle.Bundle, choices: Choices) -> None:
    library = tensorrt_library.Library("tensorrt", "11.4", None, None, tensorrt_library.Journal())
    graph = tiny.file("model.onnx")
    keys = {
        tensorrt.purpose(graph, "fp32", library, choices, GPU).key,
        tensorrt.purpose(graph + b" ", "fp32", library, choices, GPU).key,
        tensorrt.purpose(graph, "fp16", library, choices, GPU).key,
        tensorrt.purpose(graph, "fp32", replace(library, version="11.5"), choices, GPU).key,
        tensorrt.purpose(graph, "fp32", replace(library, name="tensorrt_rtx"), choices, GPU).key,
        tensorrt.purpose(graph, "fp32", library, replace(choices, tf32=True), GPU).key,
        tensorrt.purpose(graph, "fp32", library, replace(choices, level=5), GPU).key,
        tensorrt.purpose(graph, "fp32", library, replace(choices, buckets=BUCKETS[:1]), GPU).key,
        tensorrt.purpose(graph, "fp32", library, choices, replace(GPU, name="other")).key,
        tensorrt.purpose(graph, "fp32", library, choices, None).key,
        tensorrt.purpose(graph, "fp32", library, choices, None, ("8.9",)).key,
    }
    assert len(keys) == 11
    assert plans.default_folder().is_absolute()
    assert hashlib.sha256(graph).hexdigest() == tensorrt.purpose(graph, "fp32", library, choices, GPU).graph
