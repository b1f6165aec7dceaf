"""Which engine a server starts with, what it says of it, and what it refuses to start with."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import rebuild
from server.app import Server
from server.settings import ServerSettings
from vireid import bundle as bundles
from vireid.bundle import SOURCE, EnginePart
from vireid.engines import tensorrt, tuning
from vireid.engines.fake import FakeEngine
from vireid.engines.tensorrt import Choices
from vireid.engines.tuning import Tried
from vireid.errors import EngineError, ProviderUnavailable

PASSED = {"passed": True}
FAILED = {"passed": False, "failures": ["mAP falls by 3.100 points, at most 0.5 is allowed"]}

Holding = Callable[..., Path]


@pytest.fixture
def holding(tmp_path: Path) -> Holding:
    """Write the default bundle with further engines, which all run its own graph."""

    def make(**engines: dict[str, object]) -> Path:
        path, read = tmp_path / "more.bundle.zip", bundles.read(bundles.default_path())
        for name, parity in engines.items():
            runtime, precision = name.split("_")
            part = EnginePart.model_validate(
                {
                    "runtime": runtime,
                    "precision": precision,
                    "file": read.manifest.model.file,
                    "parity": parity,
                }
            )
            read = bundles.read(bundles.with_engine(read, part, {}, path))
        return path

    return make


@contextmanager
def served(path: Path, folder: Path, **more: object) -> Iterator[Server]:
    settings = {
        "bundle": str(path),
        "data": folder / "data",
        "engine_cache": folder / "engines",
        "http_port": 0,
        "grpc_port": 0,
        "workers": 1,
    }
    server = Server(ServerSettings.model_validate(settings | more))
    try:
        yield server
    finally:
        server.service.close()
        server._socket.close()


def test_the_engine_that_was_asked_for_serves_and_says_so(holding: Holding, tmp_path: Path) -> None:
    path = holding(openvino_fp32=PASSED, onnxruntime_int8=FAILED)
    with served(path, tmp_path, engine="openvino-fp32") as server:
        told = server.service.info()["engine"]
        metrics = server._metrics.text().decode()
    assert told["runtime"].startswith("openvino")
    assert (told["name"], told["proven"], told["reason"]) == ("openvino-fp32", True, "asked for by name")
    assert [one["name"] for one in told["not_taken"]] == [SOURCE, "onnxruntime-int8"]
    assert 'vireid_engine_taken{engine="openvino-fp32",reason="asked for by name"} 1.0' in metrics
    assert 'vireid_engine_taken{engine="onnxruntime-int8"' in metrics
    assert 'provider="CPU"' in metrics


def test_auto_takes_a_proven_one_and_tells_why_not_the_others(holding: Holding, tmp_path: Path) -> None:
    with served(holding(openvino_fp32={}, onnxruntime_int8=FAILED), tmp_path) as server:
        told = server.service.info()["engine"]
    assert (told["name"], told["proven"]) == (SOURCE, True)
    reasons = {one["name"]: one["reason"] for one in told["not_taken"]}
    assert "vireid export parity" in reasons["openvino-fp32"]
    assert "mAP falls by 3.100 points" in reasons["onnxruntime-int8"]


def test_the_second_start_opens_what_the_first_found(
    holding: Holding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = holding(openvino_fp32=PASSED)
    # both layouts of the model, and the other engine
    monkeypatch.setattr(tuning, "tried", lambda *_, **__: Tried((0.03, 0.02, 0.01), True))
    with served(path, tmp_path) as server:
        first = server.service.info()["engine"]
    assert len(list((tmp_path / "engines").iterdir())) == 1
    monkeypatch.setattr(tuning, "tried", lambda *_, **__: pytest.fail("they were tried again"))
    with served(path, tmp_path) as server:
        second = server.service.info()["engine"]
    assert first["name"] == "openvino-fp32"
    assert second == first | {"reason": f"{first['reason']}, when they were last tried"}


def test_an_unproven_engine_serves_with_leave_only(holding: Holding, tmp_path: Path) -> None:
    path = holding(openvino_fp32={})
    with pytest.raises(EngineError, match=r"vireid export parity .*more\.bundle\.zip --engine openvino-fp32"):
        Server(ServerSettings(bundle=str(path), data=tmp_path / "data", engine="openvino-fp32"))
    assert not (tmp_path / "data").exists()
    with served(path, tmp_path, engine="openvino-fp32", allow_unproven=True) as server:
        assert server.service.info()["engine"]["proven"] is False


def test_a_bundle_without_parity_does_not_serve(tmp_path: Path) -> None:
    read = bundles.read(bundles.default_path())
    bare = read.manifest.model_copy(update={"parity": {}})
    path = bundles.write(tmp_path / "bare.zip", bare, read.contents)
    with pytest.raises(EngineError, match="export it again with: vireid export onnx") as caught:
        Server(ServerSettings(bundle=str(path), data=tmp_path / "data"))
    assert caught.value.stable_reason == "ENGINE_UNPROVEN"


def test_a_device_that_an_engine_cannot_use(holding: Holding, tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="OpenVINO runs on the CPU only"):
        Server(
            ServerSettings(
                bundle=str(holding(openvino_fp32=PASSED)),
                data=tmp_path / "data",
                engine="openvino-fp32",
                device="cuda",
            )
        )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--engine", "onnxruntime-int8"), ("ENGINE_UNPROVEN", "mAP falls by 3.100", "--allow-unproven")),
        (("--engine", "onnxruntime-int4"), ("ENGINE_UNKNOWN", "did you mean onnxruntime-int8")),
        (("--engine", "No/Such"), ("SETTINGS_INVALID", "engine")),
    ],
)
def test_the_command_ends_with_a_line(
    holding: Holding, tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    command = [str(Path(sys.executable).parent / "vireid"), "serve", "--bundle"]
    command += [str(holding(onnxruntime_int8=FAILED)), "--data", str(tmp_path / "data"), "--http-port", "0"]
    done = subprocess.run(
        [*command, "--grpc-port", "0", *flags], capture_output=True, text=True, timeout=120, check=False
    )
    said = " ".join(done.stderr.split())
    assert done.returncode != 0
    assert "Traceback" not in said
    for word in words:
        assert word in said


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Choices]:
    """Plans that nobody proved: they open with leave only. What they were opened by is kept."""
    found: list[Choices] = []

    def opened(bundle: bundles.Bundle, file: str, precision: str, choices: Choices) -> FakeEngine:
        found.append(choices)
        if not choices.allow_unproven:
            raise EngineError("the fp16 plan is not proven", reason="ENGINE_UNPROVEN")
        return FakeEngine()

    monkeypatch.setattr(tensorrt, "open_engine", opened)
    return found


def test_a_plan_that_is_named_may_go_unproven_and_says_so(holding: Holding, given: list[Choices]) -> None:
    """A plan's proof lies beside it, so leave is given or withheld where it is opened."""
    bundle = bundles.read(holding(tensorrt_fp16={}))
    found = rebuild.choose(bundle, "tensorrt-fp16", "auto", Choices(allow_unproven=True), None)
    assert (found.name, found.proven) == ("tensorrt-fp16", False)
    assert found.reason == "asked for by name, and not proven: the fp16 plan is not proven"
    assert [one.allow_unproven for one in given] == [False, True]


def test_a_proven_plan_that_is_named_says_so_though_leave_was_given(
    holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "open_engine", lambda *_: FakeEngine())
    bundle = bundles.read(holding(tensorrt_fp16={}))
    found = rebuild.choose(bundle, "tensorrt-fp16", "auto", Choices(allow_unproven=True), None)
    assert (found.name, found.proven, found.reason) == ("tensorrt-fp16", True, "asked for by name")


@pytest.mark.parametrize(("wish", "leave"), [("auto", True), ("auto", False), ("tensorrt-fp16", False)])
def test_no_other_plan_goes_unproven(holding: Holding, given: list[Choices], wish: str, leave: bool) -> None:
    bundle = bundles.read(holding(tensorrt_fp16={}))
    choices = Choices(allow_unproven=leave)
    if wish == "auto":
        assert rebuild.choose(bundle, wish, "auto", choices, None).name == SOURCE
    else:
        with pytest.raises(EngineError, match="not proven") as caught:
            rebuild.choose(bundle, wish, "auto", choices, None)
        assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    assert [one.allow_unproven for one in given] == [False]


def test_a_plan_that_cannot_be_opened_is_not_tried_again(
    holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> FakeEngine:
        raise ProviderUnavailable("there is no NVIDIA driver on this machine")

    monkeypatch.setattr(tensorrt, "open_engine", opened)
    bundle = bundles.read(holding(tensorrt_fp16={}))
    with pytest.raises(ProviderUnavailable):
        rebuild.choose(bundle, "tensorrt-fp16", "auto", Choices(allow_unproven=True), None)
