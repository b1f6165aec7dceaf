"""Runtimes that execute a bundle; ``open_engine`` chooses one and imports it only then."""

from vireid.bundle import Bundle
from vireid.engines.base import Engine, EngineInfo

__all__ = ["Engine", "EngineInfo", "open_engine"]


def open_engine(bundle: Bundle, device: str = "auto", threads: int = 1) -> Engine:
    """Open a bundle's graph in ONNX Runtime.

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
