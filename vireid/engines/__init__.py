"""Runtimes that execute a bundle; what opens one imports it only then."""

from vireid.bundle import Bundle, EnginePart
from vireid.engines.base import Engine, EngineInfo
from vireid.errors import ProviderUnavailable

__all__ = ["Engine", "EngineInfo", "open_engine", "open_part"]


def open_engine(bundle: Bundle, device: str = "auto", threads: int = 1) -> Engine:
    """Open the model itself in ONNX Runtime; every time the same way, so that the same images give the same bytes.

    Args:
        bundle: what to load.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` never falls back silently.
        threads: threads one call uses.

    Raises:
        ProviderUnavailable: the asked-for device is not there.
        BundleCorrupt: the graph is not what the manifest promises.
    """
    from vireid.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, device, threads)


def open_part(bundle: Bundle, part: EnginePart, device: str = "auto", threads: int = 1) -> Engine:
    """Open one of a bundle's further engines, proven or not.

    Args:
        bundle: what to load.
        part: which engine of it.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` never falls back silently.
        threads: threads one call uses.

    Raises:
        ProviderUnavailable: the asked-for device is not there, or cannot do the engine's precision.
        MissingExtra: the runtime is not installed.
        BundleCorrupt: the graph is not what the manifest promises.
    """
    if part.runtime == "openvino":
        from vireid.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, part, device, threads)
    if part.runtime == "onnxruntime":
        from vireid.engines.onnx import OnnxEngine

        return OnnxEngine(bundle, device, threads, part=part)
    if device == "cpu":
        raise ProviderUnavailable("the cpu was asked for, and TensorRT runs on a GPU; take another engine")
    from vireid.engines import tensorrt

    return tensorrt.open_engine(bundle, part.file, part.precision)
