"""What the survey says of runtimes that are missing, broken, or without a GPU."""

import importlib.metadata
import importlib.util
import sys
from typing import Any

import onnxruntime
import pytest

from vireid.engines import runtimes, tensorrt_driver
from vireid.errors import ProviderUnavailable


def found() -> dict[str, runtimes.Runtime]:
    return {runtime.name: runtime for runtime in runtimes.survey()}


def test_what_a_machine_has_is_told_with_its_version() -> None:
    here = found()["onnxruntime CPU"]
    assert here.usable
    assert onnxruntime.__version__ in here.found


def test_what_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    gone = {"openvino", "tensorrt", "tensorrt_rtx", "faiss"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in gone else real(name, *more)
    )
    here = found()
    for name, extra in (
        ("openvino", "vireid[openvino]"),
        ("tensorrt", "vireid[tensorrt]"),
        ("tensorrt_rtx", "vireid[tensorrt-rtx]"),
        ("search on the CPU", "faiss-cpu"),
    ):
        assert (here[name].usable, here[name].broken) == (False, False)
        assert extra in here[name].found


def test_a_runtime_that_is_there_and_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    monkeypatch.setitem(sys.modules, "openvino", None)
    here = found()["openvino"]
    assert (here.usable, here.broken) == (False, True)
    assert "install it again" in here.found


@pytest.mark.parametrize("build", ["faiss-gpu", "faiss-gpu-cuvs"])
def test_cuda_that_is_offered_without_a_driver_is_not_called_usable(
    monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    """onnxruntime-gpu lists CUDA on every machine."""

    def none() -> Any:
        raise ProviderUnavailable("there is no NVIDIA driver on this machine")

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(tensorrt_driver, "open_driver", none)
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.15.1" if name == build else real(name))
    here = found()
    for name in ("onnxruntime CUDA", "search on a GPU"):
        assert not here[name].usable
        assert "no NVIDIA driver" in here[name].found
    assert here["search on the CPU"].found == f"{build} 1.15.1"
