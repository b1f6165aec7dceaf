"""The TensorRT engine over fakes that fail like the real libraries."""

import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.vireid.engines import fake_tensorrt as fake
from tests.vireid.engines.fake_cuda import FakeCuda
from tests.vireid.engines.fake_plans import Keep, Opened, batch
from tests.vireid.engines.fake_tensorrt import FakeTensorRt, rows_of
from vireid import bundle
from vireid.errors import EngineError


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
