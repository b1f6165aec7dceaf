"""Which plan is missing, who serves until it is built, and who after."""

from pathlib import Path
from typing import Any

import pytest

from server import rebuild
from server.rebuild import Missing
from tests.server.plan_parts import LACKING, PART, with_plans
from vireid import bundle as bundles
from vireid.bundle import Bundle
from vireid.engines import tensorrt
from vireid.engines.choice import Choice, NotTaken
from vireid.engines.fake import FakeEngine
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_driver import Gpu
from vireid.errors import EngineError, ProviderUnavailable


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return with_plans(tmp_path)


class FakeDriver:
    gpu = Gpu("NVIDIA Test", "9.0", "13.3")


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What looking for a plan comes to, by precision; found where nothing is said."""
    found: dict[str, str] = {}

    def find(_bundle: Any, _file: str, precision: str, *_: Any) -> None:
        if precision in found:
            raise EngineError(f"the {precision} plan is not here", reason=found[precision])

    monkeypatch.setattr(rebuild.tensorrt, "find", find)
    return found


def looked(bundle: Bundle, wish: str = "auto", device: str = "auto") -> Missing | None:
    return rebuild.missing(bundle, wish, device, Choices(), lambda: FakeDriver())  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("reason", ["PLAN_MISSING", "PLAN_MISMATCH", "ENGINE_UNPROVEN"])
def test_what_is_missing_is_built(bundle: Bundle, reasons: dict[str, str], reason: str) -> None:
    reasons.update(fp16=reason, fp32=reason)
    found = looked(bundle)
    assert found is not None
    assert (found.part.name, found.reason) == ("tensorrt-fp16", "the fp16 plan is not here")
    named = looked(bundle, "tensorrt-fp32")
    assert named is not None
    assert named.part.name == "tensorrt-fp32"


def test_nothing_is_built_where_no_build_helps(bundle: Bundle, reasons: dict[str, str]) -> None:
    reasons.update(fp16="PLAN_MISSING", fp32="PLAN_MISSING")
    assert looked(bundle, device="cpu") is None
    assert looked(bundle, "onnxruntime-fp32") is None
    assert looked(bundles.read(bundles.default_path())) is None

    def none() -> Any:
        raise ProviderUnavailable("no driver")

    assert rebuild.missing(bundle, "auto", "auto", Choices(), none) is None
    del reasons["fp32"]  # one plan is there: it serves
    assert looked(bundle) is None
    reasons.update(fp16="PLAN_UNTRUSTED", fp32="PLAN_MISSING")
    assert looked(bundle, "tensorrt-fp16") is None


def test_what_stands_in_says_so(bundle: Bundle) -> None:
    for wish, device in (("tensorrt-fp16", "cuda"), ("auto", "auto")):
        found = rebuild.choose(bundle, wish, device, Choices(), LACKING)
        assert found.name == "onnxruntime-fp32"
        assert found.reason.startswith("until the plan of tensorrt-fp16 is built here: ")
        assert {one.name for one in found.not_taken} == {"tensorrt-fp16", "tensorrt-fp32"}


@pytest.mark.parametrize("proven", [True, False])
def test_a_successor_tells_who_stood_in_and_is_proven_as_that_was(proven: bool) -> None:
    now = Choice(
        "onnxruntime-fp32", "", proven, (NotTaken("tensorrt-fp16", "no plan"),), FakeEngine(), FakeEngine
    )
    engine = FakeEngine()
    after = rebuild.successor(now, "tensorrt-fp16", engine)
    assert (after.name, after.proven, after.engine) == ("tensorrt-fp16", proven, engine)
    assert [one.name for one in after.not_taken] == ["onnxruntime-fp32"]


def test_plans_are_opened_by_the_servers_choices(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(folder=Path("/somewhere"))
    given: list[Any] = []
    monkeypatch.setattr(rebuild.tensorrt, "open_engine", lambda *words: given.append(words) or FakeEngine())
    opened = rebuild.opener(choices)
    opened(bundle, PART, "auto", "blocked")
    assert given == [(bundle, "model.onnx", "fp16", choices)]
    with pytest.raises(ProviderUnavailable, match="the cpu was asked for"):
        opened(bundle, PART, "cpu", "blocked")
    assert opened(bundle, None, "cpu", "plain").info.provider == "CPUExecutionProvider"
    assert tensorrt.UNPROVEN in rebuild.MENDED
