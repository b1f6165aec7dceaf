"""Which runtimes could be used on this machine, and what each can really do. Knows no bundle; imports a runtime to ask it."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vireid.engines import openvino_library
from vireid.errors import VireidError

# builds of FAISS that can search on a GPU; the first has CAGRA, too
FAISS_GPU = ("faiss-gpu-cuvs", "faiss-gpu")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime and what was found of it.

    Attributes:
        name: as users know it.
        found: version and what it can do here, or what is missing and how to get it.
        usable: whether something can run on it here.
        broken: whether it is installed and does not work.
    """

    name: str
    found: str
    usable: bool = True
    broken: bool = False


def survey() -> list[Runtime]:
    """Ask every runtime there could be."""
    return [
        _ask(name, look)
        for name, look in (
            ("onnxruntime CPU", _onnxruntime_cpu),
            ("onnxruntime CUDA", _onnxruntime_cuda),
            ("openvino", _openvino),
            ("tensorrt", lambda: _tensorrt("tensorrt", "vireid[tensorrt]")),
            ("tensorrt_rtx", lambda: _tensorrt("tensorrt_rtx", "vireid[tensorrt-rtx]")),
            ("search on the CPU", _faiss_cpu),
            ("search on a GPU", _faiss_gpu),
        )
    ]


class _Absent(Exception):
    """It is not there, which is no fault; the message says what to do."""


def _ask(name: str, look: Callable[[], str]) -> Runtime:
    try:
        return Runtime(name, look())
    except _Absent as absent:
        return Runtime(name, str(absent), usable=False)
    except VireidError as error:
        return Runtime(name, f"{error.message} [{error.stable_reason}]", usable=False)
    except (ImportError, OSError) as error:
        return Runtime(
            name,
            f"is installed and cannot be imported ({error}); install it again",
            usable=False,
            broken=True,
        )


def _onnxruntime_cpu() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, offers {', '.join(onnxruntime.get_available_providers())}"


def _onnxruntime_cuda() -> str:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise _Absent(
            "not in this build; on a machine with a GPU: pip uninstall onnxruntime && pip install 'vireid[gpu]'"
        )
    from vireid.engines.tensorrt_driver import open_driver

    gpu = open_driver().gpu  # a build that offers CUDA says nothing of a driver
    return f"{onnxruntime.__version__} on {gpu.name}"


def _openvino() -> str:
    if importlib.util.find_spec("openvino") is None:
        raise _Absent("not installed; run: pip install 'vireid[openvino]'")
    openvino = openvino_library.load()
    from vireid.engines.openvino import core

    its = core()
    can = its.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions = [word for word in ("FP32", "BF16", "INT8") if word in can]
    version = openvino.get_version().partition("-")[0]
    return (
        f"{version}, CPU in {', '.join(precisions).lower()} ({its.get_property('CPU', 'FULL_DEVICE_NAME')})"
    )


def _tensorrt(module: str, extra: str) -> str:
    if importlib.util.find_spec(module) is None:
        raise _Absent(f"not installed; on a machine with a GPU: pip install '{extra}'")
    from vireid.engines import tensorrt_library
    from vireid.engines.tensorrt_driver import open_driver

    version = tensorrt_library.load(module).version
    try:
        gpu = open_driver().gpu
    except VireidError as error:
        raise _Absent(f"{version}, builds plans ahead of time at most: {error.message}") from error
    return f"{version} on {gpu.name}"


def _faiss_cpu() -> str:
    if importlib.util.find_spec("faiss") is None:
        raise _Absent("faiss is not installed; run: pip install faiss-cpu")
    return _first_of((*FAISS_GPU, "faiss-cpu")) or "faiss, of no known package"


def _faiss_gpu() -> str:
    found = _first_of(FAISS_GPU)
    if found is None:
        raise _Absent(
            "faiss-gpu is not installed; on a machine with a GPU: pip uninstall faiss-cpu && pip install 'vireid[gpu]'"
        )
    from vireid.engines.tensorrt_driver import open_driver

    return f"{found} on {open_driver().gpu.name}"


def _first_of(packages: Sequence[str]) -> str | None:
    for name in packages:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
