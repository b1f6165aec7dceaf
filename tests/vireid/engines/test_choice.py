"""Which engine serves, with engines that take as long as a test says and fail as real ones do."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.vireid.engines.paced import FAILED, part
from vireid import bundle as bundles
from vireid.bundle import SOURCE, Bundle
from vireid.engines import choice
from vireid.engines.choice import Choice, choose
from vireid.engines.fake import FakeEngine
from vireid.errors import (
    BundleCorrupt,
    EngineError,
    MissingExtra,
    ProviderUnavailable,
    VireidError,
)

Run = Callable[..., Choice]
Holding = Callable[..., Bundle]


def test_the_model_alone_is_taken_in_the_faster_layout(holding: Holding, run: Run) -> None:
    found = run(holding(), {SOURCE: 1.0, f"{SOURCE}/plain": 0.9})
    assert (found.name, found.proven, found.not_taken) == (SOURCE, True, ())
    assert found.engine.info.provider == "plain"
    assert "only engine" in found.reason
    assert {engine.info.provider for engine in found.for_workers(3)} == {"plain"}
    assert run(holding(), {SOURCE: 1.0, f"{SOURCE}/plain": 0.99}).engine.info.provider == "blocked"


def test_the_fastest_that_is_proven_is_taken_and_the_others_say_by_how_much(
    holding: Holding, run: Run
) -> None:
    bundle = holding(part("onnxruntime-int8"), part("openvino-bf16"))
    found = run(bundle, {SOURCE: 0.010, "onnxruntime-int8": 0.003, "openvino-bf16": 0.006})
    assert found.name == "onnxruntime-int8"
    assert found.reason == "the fastest of 3 that are proven and run here: 3 ms an image"
    assert [(one.name, one.reason) for one in found.not_taken] == [
        (SOURCE, "10 ms an image here; onnxruntime-int8 takes 3 ms"),
        ("openvino-bf16", "6 ms an image here; onnxruntime-int8 takes 3 ms"),
    ]
    assert found.as_json()["not_taken"][1]["name"] == "openvino-bf16"


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        ({}, "no parity report; prove it with: vireid export parity .*tiny.zip --engine onnxruntime-int8"),
        (FAILED, "it failed parity: cosine mean 0.912000 alone, at least 0.985 is required"),
        ({"passed": "yes"}, "the report does not say that it passed"),
    ],
)
def test_what_is_not_proven_is_never_taken_however_fast(
    holding: Holding, run: Run, parity: dict[str, Any], words: str
) -> None:
    bundle = holding(part("onnxruntime-int8", parity))
    takes = {SOURCE: 1.0, "onnxruntime-int8": 0.1}
    for allowed in (False, True):  # auto never takes that risk
        found = run(bundle, takes, allow_unproven=allowed)
        assert found.name == SOURCE
        assert len(found.not_taken) == 1
        assert re.search(words, found.not_taken[0].reason)
    with pytest.raises(EngineError, match=words):
        run(bundle, takes, "onnxruntime-int8")


def test_an_unproven_engine_serves_only_by_name_and_with_leave(holding: Holding, run: Run) -> None:
    bundle = holding(part("onnxruntime-int8", {}))
    takes = {SOURCE: 1.0, "onnxruntime-int8": 0.1}
    with pytest.raises(EngineError, match="--allow-unproven") as caught:
        run(bundle, takes, "onnxruntime-int8")
    assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    found = run(bundle, takes, "onnxruntime-int8", allow_unproven=True)
    assert (found.name, found.proven) == ("onnxruntime-int8", False)
    assert "not proven" in found.reason
    assert found.not_taken[0].reason == "onnxruntime-int8 was asked for"


@pytest.mark.parametrize(
    "trouble",
    [
        MissingExtra("OpenVINO is not installed; run: pip install 'vireid[openvino]'"),
        ProviderUnavailable("this CPU has no bf16 instructions"),
        EngineError("a plan for another GPU", reason="PLAN_MISMATCH"),
        BundleCorrupt("openvino cannot load it"),
    ],
)
def test_what_does_not_run_here_says_why(holding: Holding, run: Run, trouble: VireidError) -> None:
    bundle = holding(part("openvino-bf16"))
    found = run(bundle, {SOURCE: 1.0, "openvino-bf16": trouble})
    assert found.name == SOURCE
    assert found.not_taken[0].reason == trouble.message
    with pytest.raises(type(trouble), match=trouble.message[:20]):
        run(bundle, {SOURCE: 1.0, "openvino-bf16": trouble}, "openvino-bf16")


@pytest.mark.parametrize("order", [1, -1])
def test_of_equals_the_more_precise_is_taken_whatever_their_order(
    holding: Holding, run: Run, order: int
) -> None:
    parts = [part(name) for name in ("onnxruntime-int8", "openvino-int8", "openvino-bf16")][::order]
    bundle = holding(*parts)
    takes = {SOURCE: 1.0, "onnxruntime-int8": 0.5, "openvino-int8": 0.49, "openvino-bf16": 0.5}
    assert run(bundle, takes).name == "openvino-bf16"
    assert run(bundle, takes | {"openvino-bf16": 0.52}).name == parts[0 if order == 1 else 1].name


def test_a_model_of_unknown_origin_serves_with_leave_only(holding: Holding, run: Run) -> None:
    bundle = holding(proven=False)
    with pytest.raises(EngineError, match=r"vireid export onnx.*--allow-unproven") as caught:
        run(bundle, {SOURCE: 1.0})
    assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    found = run(bundle, {SOURCE: 1.0}, allow_unproven=True)
    assert (found.name, found.proven) == (SOURCE, False)


@pytest.mark.parametrize("name", ["onnxruntime-int8", "tensorrt-fp16"])
def test_an_engine_is_no_better_than_the_model_it_was_held_against(
    holding: Holding, run: Run, name: str
) -> None:
    bundle, takes = holding(part(name), proven=False), {SOURCE: 1.0, name: 0.1}
    for wish in ("auto", name):
        with pytest.raises(EngineError, match="vireid export onnx") as caught:
            run(bundle, takes, wish)
        assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    assert run(bundle, takes, allow_unproven=True).name == SOURCE
    found = run(bundle, takes, name, allow_unproven=True)
    assert (found.name, found.proven) == (name, False)


def test_reports_of_before_count_as_passed(tiny: Bundle, run: Run) -> None:
    """They were written only where the export had passed, and did not say so."""
    old = {"cosine_min": 0.9999999, "threshold": 0.99999}
    bundle = replace(tiny, manifest=tiny.manifest.model_copy(update={"parity": old}))
    assert run(bundle, {SOURCE: 1.0}).proven


def test_a_device_that_is_not_there_is_an_error_and_not_another_device(holding: Holding, run: Run) -> None:
    missing = ProviderUnavailable("CUDA was asked for and does not run here")
    with pytest.raises(ProviderUnavailable, match="does not run here"):
        run(
            holding(part("openvino-bf16")),
            {SOURCE: missing, "openvino-bf16": ProviderUnavailable("openvino runs on the CPU only")},
            device="cuda",
        )
    found = run(holding(part("tensorrt-fp16")), {SOURCE: missing, "tensorrt-fp16": 0.1}, device="cuda")
    assert found.name == "tensorrt-fp16"
    assert found.not_taken[0].reason == missing.message


@pytest.mark.parametrize(
    "model_s", [0.02, 1.0]
)  # that much slower with one picture, it is not given batches at first
def test_what_opens_and_cannot_run_batches_says_why(holding: Holding, run: Run, model_s: float) -> None:
    bundle, takes = holding(part("onnxruntime-fp16")), {SOURCE: model_s, "onnxruntime-fp16": 0.01}
    found = run(bundle, takes, most={"onnxruntime-fp16": 4})
    assert found.name == SOURCE
    assert [(one.name, one.reason) for one in found.not_taken] == [
        ("onnxruntime-fp16", "no memory for 8 images")
    ]
    with pytest.raises(EngineError, match="no memory for 1 images"):
        run(bundle, takes, most={SOURCE: 0, "onnxruntime-fp16": 0})


def test_a_layout_that_cannot_run_leaves_the_other(holding: Holding, run: Run) -> None:
    found = run(
        holding(part("openvino-bf16")),
        {SOURCE: 0.01, f"{SOURCE}/plain": 0.005, "openvino-bf16": 0.02},
        most={f"{SOURCE}/plain": 4},
    )
    assert (found.name, found.engine.info.provider) == (SOURCE, "blocked")
    assert "20 ms" in found.not_taken[0].reason


def test_a_damaged_model_is_not_passed_over(holding: Holding, run: Run) -> None:
    with pytest.raises(BundleCorrupt, match="cannot load"):
        run(
            holding(part("onnxruntime-int8")),
            {SOURCE: BundleCorrupt("onnxruntime cannot load the graph"), "onnxruntime-int8": 0.1},
        )


def test_an_unknown_name_is_told_the_known_ones(holding: Holding, run: Run) -> None:
    with pytest.raises(
        EngineError, match=r"it has onnxruntime-fp32, onnxruntime-int8; did you mean"
    ) as caught:
        run(holding(part("onnxruntime-int8")), {}, "onnxruntime-int4")
    assert caught.value.stable_reason == "ENGINE_UNKNOWN"


def test_workers_engines_are_opened_side_by_side(holding: Holding, run: Run) -> None:
    found = run(holding(), {SOURCE: 1.0})
    together = threading.Barrier(3)

    def another() -> FakeEngine:
        together.wait(20)  # none would come through alone
        return FakeEngine()

    engines = replace(found, another=another).for_workers(4)
    assert engines[0] is found.engine
    assert len({id(engine) for engine in engines}) == 4


def test_an_engine_that_does_not_open_for_a_worker_is_told(holding: Holding, run: Run) -> None:
    def another() -> FakeEngine:
        raise EngineError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        replace(run(holding(), {SOURCE: 1.0}), another=another).for_workers(4)


def test_a_gpu_is_filled_by_one_engine(holding: Holding, run: Run) -> None:
    found = run(holding(), {SOURCE: 0.1}, device="cuda")
    assert found.for_workers(8) == [found.engine] * 8


def test_real_engines_open_by_name() -> None:
    bundle = bundles.read(bundles.default_path())
    found = choose(bundle, SOURCE, "cpu")
    assert (found.name, found.proven) == (SOURCE, True)
    assert len({id(engine) for engine in found.for_workers(2)}) == 2
    assert choice.names(bundle)[0] == SOURCE
