"""Runtimes that execute a bundle; what opens one imports it only then."""

from vireid.bundle import Bundle, EnginePart
from vireid.engines.base import Engine, EngineInfo
from vireid.errors import ProviderUnavailable

__all__ = ["Engine", "EngineInfo", "open_engine", "open_engines", "open_part"]


def open_engine(bundle: Bundle, device: str = "auto", threads: int = 1) -> Engine:
    """Open a bundle's graph in ONNX Runtime; every time the same way, so that the same images give the same bytes.

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
    raise ProviderUnavailable(f"nothing here runs the engine {part.name}; take another engine")


def open_engines(bundle: Bundle, device: str = "auto", *, workers: int) -> list[Engine]:
    """Open a bundle for workers that embed side by side, all alike, in the layout that is faster on this machine.

    Args:
        bundle: what to load.
        device: as for ``open_engine``.
        workers: threads that will call; on a CPU each gets an engine of one thread, on a GPU one fills the device.

    Raises:
        ProviderUnavailable, BundleCorrupt: as for ``open_engine``.
    """
    from vireid.engines.onnx import OnnxEngine
    from vireid.engines.tuning import is_faster

    first = OnnxEngine(bundle, device)
    if first.info.device != "cpu":
        return [first]
    plain = OnnxEngine(bundle, "cpu", layout="plain")
    if is_faster(plain, first):
        return [plain, *(OnnxEngine(bundle, "cpu", layout="plain") for _ in range(workers - 1))]
    return [first, *(OnnxEngine(bundle, "cpu") for _ in range(workers - 1))]
