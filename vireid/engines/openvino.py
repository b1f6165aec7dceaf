"""OpenVINO as an engine on the CPU: a further form of a bundle's graph, in fp32, bf16 or int8.

What really runs is read back from the compiled model; a precision this CPU cannot do is refused, never replaced. Needs the extra
``openvino``, which is imported when an engine is opened.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.bundle import Bundle, EnginePart
from vireid.engines import onnx_outside, openvino_kernels, openvino_library
from vireid.engines.base import EngineInfo, Loaded, check_batch, check_rows
from vireid.engines.openvino_stages import IMAGES, MODALITY, OUTPUT, Stages
from vireid.errors import BundleCorrupt, EngineError, MissingExtra, ProviderUnavailable

# precision -> what the runtime is asked to calculate in; an int8 graph says itself where it is int8
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
# and what the runtime must say of most of the heavy layers once they are compiled
RUNS = {"fp32": ("f32",), "bf16": ("bf16",), "int8": ("i8", "u8")}
HEAVY = ("Convolution", "FullyConnected", "MatMul")


class OpenVinoEngine(Loaded):
    """A bundle's graph compiled by OpenVINO; several threads may call.

    Args:
        bundle: what to load.
        part: which of its engines.
        device: ``cpu`` or ``auto``, which is the CPU too.
        threads: threads one call uses.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ProviderUnavailable: another device than the CPU was asked for, or the CPU cannot do the precision.
        BundleCorrupt: the graph is not what the manifest promises.
        EngineError: a device or number of threads that cannot be.
    """

    def __init__(self, bundle: Bundle, part: EnginePart, device: str = "auto", threads: int = 1) -> None:
        _check_wishes(part, device, threads)
        runtime = _runtime()
        self._stages = _compile(bundle, part, threads)
        _check_precision(self._stages.compiled, part)
        told = self._stages.compiled[-1]
        info = EngineInfo(
            runtime=f"openvino {runtime.get_version().partition('-')[0]}",
            provider="+".join(told.get_property("EXECUTION_DEVICES")),
            device="cpu",
            precision=part.precision,
            threads=int(told.get_property("INFERENCE_NUM_THREADS")),
        )
        super().__init__(info, bundle.space_id, bundle.preprocess.size, bundle.manifest.model.dim)
        self._try_out(bundle)

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images; see ``vireid.engines.base.Engine.embed``."""
        check_batch(images, modality, self._input_size)
        try:
            rows = self._stages.run(images, modality)
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {error}") from error
        check_rows(rows)
        return rows

    def _try_out(self, bundle: Bundle) -> None:
        grey = np.full((2, *self._input_size, 3), 128, dtype=np.uint8)
        try:
            found = self.embed(grey, np.array([0, 1])).shape
        except EngineError as error:
            raise BundleCorrupt(f"{bundle.path}: the graph does not run: {error.message}") from error
        if found != (2, self._dim):
            raise BundleCorrupt(f"{bundle.path}: two pictures gave {found}; expected (2, {self._dim})")


def _runtime() -> Any:
    try:
        return openvino_library.load()
    except ModuleNotFoundError as error:
        raise MissingExtra("OpenVINO is not installed; run: pip install 'vireid[openvino]'") from error


@functools.cache
def core() -> Any:
    """Return the one core of this process, which is never given back.

    OpenVINO's CPU plugin (seen in 2026.4) gives the thread that loads it a stack for signals, and frees it when its last model
    goes, in whichever thread that is; a signal to the first thread then ends the process.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    return _runtime().Core()


def _check_wishes(part: EnginePart, device: str, threads: int) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise EngineError(f"found device {device!r}; expected one of auto, cpu, cuda")
    if device == "cuda":
        raise ProviderUnavailable(
            "CUDA was asked for, and OpenVINO runs on the CPU only; ask for the cpu, or for another engine"
        )
    if threads < 1:
        raise EngineError(f"found {threads} threads; expected at least 1")
    if part.precision not in HINTS:
        raise EngineError(f"found {part.precision} for OpenVINO on a CPU; expected one of {', '.join(HINTS)}")


def _compile(bundle: Bundle, part: EnginePart, threads: int) -> Stages:
    its = core()
    can = its.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if part.precision == "bf16" and "BF16" not in can:
        raise ProviderUnavailable(
            f"this CPU ({its.get_property('CPU', 'FULL_DEVICE_NAME')}) has no bf16 instructions; "
            f"it has {', '.join(sorted(can))}: take the fp32 or int8 engine"
        )
    alike = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    graph = bundle.file(part.file)
    onnx_outside.refuse(graph, f"{bundle.path}: {part.file}")
    try:
        model = its.read_model(graph, b"")
        _check_graph(bundle, model)
        if part.precision != "int8":
            openvino_kernels.wish(its, model)
        wishes = [alike | {"INFERENCE_PRECISION_HINT": HINTS[each]} for each in _precisions(part)]
        return Stages(its, model, part.fp32_until, wishes, threads)
    except (RuntimeError, ValueError) as error:
        raise BundleCorrupt(f"{bundle.path}: openvino cannot load {part.file}: {error}") from error


def _check_precision(stages: Sequence[Any], part: EnginePart) -> None:
    """Read back what most convolutions and products of each stage are really done in.

    Raises:
        ProviderUnavailable: it is not what the engine promises.
    """
    for stage, promised in zip(stages, _precisions(part), strict=True):
        kinds: Counter[str] = Counter()
        for layer in stage.get_runtime_model().get_ops():
            told = layer.get_rt_info()
            if told["layerType"].value in HEAVY:
                kinds[told["runtimePrecision"].value] += 1
        found, count = kinds.most_common(1)[0] if kinds else (HINTS[promised], 0)
        if found not in RUNS[promised]:
            raise ProviderUnavailable(
                f"openvino calculates {count} of {kinds.total()} heavy layers in {found} here; the engine {part.name} "
                f"promises {promised}: take another engine"
            )


def _precisions(part: EnginePart) -> tuple[str, ...]:
    return ("fp32", part.precision) if part.fp32_until else (part.precision,)


def _check_graph(bundle: Bundle, model: Any) -> None:
    height, width = bundle.manifest.preprocess.height, bundle.manifest.preprocess.width
    found = {
        entry.get_any_name(): (entry.get_element_type().get_type_name(), str(entry.get_partial_shape()))
        for entry in [*model.inputs, *model.outputs]
    }
    expected = {
        IMAGES: ("u8", f"[?,{height},{width},3]"),
        MODALITY: ("i64", "[?]"),
        OUTPUT: ("f32", f"[?,{bundle.manifest.model.dim}]"),
    }
    if MODALITY not in found:
        del expected[MODALITY]
    if found != expected:
        raise BundleCorrupt(f"{bundle.path}: openvino reads {found}; expected {expected}")
