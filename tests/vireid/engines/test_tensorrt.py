"""The TensorRT engine over fakes that fail like the real libraries, and on a GPU where there is one."""

import gc
import hashlib
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.vireid.engines import fake_tensorrt as fake
from tests.vireid.engines.fake_cuda import FakeCuda
from tests.vireid.engines.fake_tensorrt import FakeTensorRt, plan_bytes, rows_of
from vireid import bundle
from vireid.engines import plans, tensorrt, tensorrt_driver, tensorrt_library
from vireid.engines.plans import PlanStore, Sidecar
from vireid.engines.tensorrt import Choices, TensorRtEngine
from vireid.engines.tensorrt_buckets import Bucket
from vireid.engines.tensorrt_driver import CudaDriver, Gpu
from vireid.errors import EngineError, MissingExtra, ProviderUnavailable, SettingsError

BUCKETS = tuple(Bucket(*sizes) for sizes in fake.PROFILES)
GPU = Gpu("NVIDIA Test", "9.0", "13.3")


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


Keep = Callable[..., Path]


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


Opened = Callable[..., TensorRtEngine]


def batch(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (rows, fake.HEIGHT, fake.WIDTH, 3), dtype=np.uint8)
    return images, random.integers(0, 2, rows)


# ---- running ----------------------------------------------------------------------
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 15, 16, 17, 33, 40])
def test_rows_are_the_plans_at_every_batch_size(
    trt: FakeTensorRt, keep: Keep, opened: Opened, rows: int
) -> None:
    keep()
    engine = opened()
    for again in range(3):
        given = batch(rows, again)
        np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))


def test_sizes_in_any_order_do_not_disturb_one_another(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep()
    engine = opened()
    for seed, rows in enumerate(np.random.default_rng(0).integers(1, 40, 60).tolist()):
        given = batch(rows, seed)
        np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))


def test_a_context_has_one_profile_and_its_addresses_for_good(
    trt: FakeTensorRt, keep: Keep, opened: Opened
) -> None:
    keep()
    engine = opened()
    for rows in (1, 2, 3, 4, 9, 16, 4, 9, 1, 2, 40):
        engine.embed(*batch(rows))
    assert all(context.settings["address"] == 3 for context in trt.contexts)
    assert all(context.settings["profile"] == 1 for context in trt.contexts)
    assert len(trt.contexts) == 3 + 2  # of the sizes 1, 2, 3 and of the buckets 2-4 and 5-16
    assert len({context.addresses["images"] for context in trt.contexts}) == 1


def test_small_batches_run_from_graphs_after_their_first_time(
    trt: FakeTensorRt, cuda: FakeCuda, keep: Keep, opened: Opened
) -> None:
    keep()
    engine = opened()
    engine.embed(*batch(3))
    cuda.calls.clear()
    given = batch(3, 5)
    np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))
    assert cuda.calls == ["cuCtxSetCurrent", "cuGraphLaunch", "cuStreamSynchronize"]
    engine.embed(*batch(4))
    cuda.calls.clear()
    engine.embed(*batch(4))
    assert "cuGraphLaunch" not in cuda.calls


def test_where_graphs_cannot_be_recorded_batches_run_without(
    trt: FakeTensorRt, cuda: FakeCuda, keep: Keep, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    keep()
    trt.capturable = False
    with caplog.at_level(logging.WARNING):
        engine = opened()
        for seed in range(4):
            for rows in (1, 3, 8):
                given = batch(rows, seed)
                np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))
    told = [record.message for record in caplog.records]
    assert len(told) == 1
    assert "CUDA graphs cannot be recorded" in told[0]
    assert "not permitted when capturing" in told[0]
    assert "cuGraphLaunch" not in cuda.calls


def test_many_threads_get_their_own_rows(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep()
    engine = opened(lanes=3)
    given = [batch(1 + seed % 7, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: engine.embed(*one), given))
    for mine, one in zip(found, given, strict=True):
        np.testing.assert_array_equal(mine, rows_of(*one))


def test_wrong_input_is_refused(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep()
    engine = opened()
    images, modality = batch(2)
    for spoilt in ((images[:0], modality[:0]), (images[:, 1:], modality), (images, modality + 2)):
        with pytest.raises(EngineError, match="found"):
            engine.embed(*spoilt)


def test_it_says_what_runs(trt: FakeTensorRt, keep: Keep, opened: Opened, tiny: bundle.Bundle) -> None:
    keep()
    engine = opened()
    assert engine.info.runtime == f"tensorrt {fake.VERSION}"
    assert engine.info.device == "cuda:0"
    assert "NVIDIA Test" in engine.info.provider
    assert engine.space_id == tiny.space_id


def test_all_memory_is_given_back(trt: FakeTensorRt, cuda: FakeCuda, keep: Keep, opened: Opened) -> None:
    keep()
    engine = opened(lanes=2)
    engine.embed(*batch(3))
    engine.embed(*batch(3))
    assert cuda.memory
    assert cuda.runnable
    trt.contexts.clear()
    del engine
    gc.collect()
    assert (cuda.memory, cuda.pinned, cuda.streams, cuda.runnable, cuda.graphs) == ({}, {}, {}, {}, {})


# ---- failing ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "create_execution_context",
        "set_optimization_profile_async",
        "set_tensor_address",
        "set_input_shape",
        "infer_shapes",
        "execute_async_v3",
    ],
)
def test_each_refusal_is_an_error_with_the_librarys_words(
    trt: FakeTensorRt, keep: Keep, opened: Opened, name: str
) -> None:
    keep()
    trt.refuse.add(name)
    with pytest.raises(
        EngineError, match=r"tensorrt 11\.4\.0\.106: .*(Error Code 3|out of memory|inference failed)"
    ):
        opened()


def test_a_failed_batch_leaves_the_engine_usable(trt: FakeTensorRt, keep: Keep, opened: Opened) -> None:
    keep()
    engine = opened()
    trt.refuse.add("execute_async_v3")
    with pytest.raises(EngineError, match="batch of 7 was not run"):
        engine.embed(*batch(7))
    trt.refuse.clear()
    given = batch(7, 1)
    np.testing.assert_array_equal(engine.embed(*given), rows_of(*given))


def test_an_error_on_the_device_is_told(
    trt: FakeTensorRt, cuda: FakeCuda, keep: Keep, opened: Opened
) -> None:
    keep()
    engine = opened()
    cuda.broken = 700
    with pytest.raises(EngineError, match="illegal memory access"):
        engine.embed(*batch(7))


@pytest.mark.parametrize("spoil", [lambda rows: rows * np.nan, lambda rows: rows * 2])
def test_rows_that_are_none_are_an_error(
    trt: FakeTensorRt, keep: Keep, opened: Opened, spoil: Callable[[np.ndarray], np.ndarray]
) -> None:
    keep()
    engine = opened()
    trt.spoils = spoil
    with pytest.raises(EngineError, match="rows of norm"):
        engine.embed(*batch(7))
    with pytest.raises(EngineError, match="rows of norm"):
        opened()


def test_too_little_memory(trt: FakeTensorRt, keep: Keep, opened: Opened, cuda: FakeCuda) -> None:
    keep()
    cuda.left = 1000
    with pytest.raises(EngineError, match="out of memory"):
        opened()


# ---- refusing ---------------------------------------------------------------------
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
