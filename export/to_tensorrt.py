"""From a bundle's graph to a TensorRT plan, by ``tensorrt`` 11 or ``tensorrt_rtx``: parse, set profiles, build.

Precision is what the graph says: both libraries type strongly, there is no switch for it. ``tensorrt_rtx`` also builds where
there is no GPU. Each failure of the library becomes an ExportError in the library's own words. Knows no bundle and no folder.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from export import tensorrt_graph, tensorrt_progress
from export.tensorrt_progress import Phases, Tell
from vireid.engines.tensorrt_api import BuilderConfig, OptimizationProfile
from vireid.engines.tensorrt_buckets import BUCKETS, Bucket
from vireid.engines.tensorrt_library import Library
from vireid.errors import ExportError

IMAGES, MODALITY = "images", "modality"


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    Attributes:
        height: of the images.
        width: of the images.
        buckets: one profile for each.
        tf32: let fp32 arithmetic round its inputs to 10 bits.
        level: how long fast kernels are looked for, 0 to 5; None for the library's default.
        sms: compute capabilities to build for, as ``8.9``; only ahead of time, and any if left out.
        timings: what kernels took in earlier builds; empty for none.
    """

    height: int
    width: int
    buckets: Sequence[Bucket] = BUCKETS
    tf32: bool = False
    level: int | None = None
    sms: tuple[str, ...] = ()
    timings: bytes = b""


@dataclass(frozen=True, slots=True)
class Built:
    """A plan that was built.

    Attributes:
        plan: its bytes.
        timings: what kernels took; empty where the library keeps none.
        parsed: sha256 of the graph that the library was given.
        seconds: the build took.
    """

    plan: bytes
    timings: bytes
    parsed: str
    seconds: float


def build(library: Library, graph: bytes, order: Order, tell: Tell = lambda _done: None) -> Built:
    """Build a plan.

    Args:
        library: to build with.
        graph: the bundle's ONNX file.
        order: what to build.
        tell: told the part that is done, from 0 to 1.

    Raises:
        ExportError: the graph or the order is refused, in the library's words.
        ProviderUnavailable: this library builds on a GPU only, and there is none.
    """
    began = time.monotonic()
    adapted = tensorrt_graph.adapt(graph)
    builder = library.builder()
    network = builder.create_network(0)
    parser = library.parser(network)
    if not parser.parse(adapted):
        words = [" ".join(parser.get_error(number).desc().split()) for number in range(parser.num_errors)]
        told = "; ".join(dict.fromkeys([*words, library.journal.complaint()]))
        raise ExportError(f"{library.name} cannot read the graph: {told}")
    config = builder.create_builder_config()
    if config is None:
        raise _failed(library, "made no configuration")
    for bucket in order.buckets:
        if (
            config.add_optimization_profile(_profile(builder.create_optimization_profile(), order, bucket))
            < 0
        ):
            raise _failed(
                library, f"refuses the batches {bucket.least} to {bucket.most}, usually {bucket.usual}"
            )
    _set(library, config, order)
    timed = _use_timings(library, config, order.timings)
    # kept in a variable: the library calls it until the build is over
    phases = Phases(tell)
    watching = tensorrt_progress.monitor(library.handle, phases)
    config.progress_monitor = watching
    plan = builder.build_serialized_network(network, config)
    if phases.trouble is not None:
        raise phases.trouble
    if plan is None:
        raise _failed(library, "built no plan")
    return Built(
        plan=bytes(plan),
        timings=_timings(config) if timed else b"",
        parsed=hashlib.sha256(adapted).hexdigest(),
        seconds=time.monotonic() - began,
    )


def _profile(profile: OptimizationProfile, order: Order, bucket: Bucket) -> OptimizationProfile:
    sizes = (bucket.least, bucket.usual, bucket.most)
    images = [(size, order.height, order.width, 3) for size in sizes]
    profile.set_shape(IMAGES, *images)
    profile.set_shape(MODALITY, *[(size,) for size in sizes])
    return profile


def _set(library: Library, config: BuilderConfig, order: Order) -> None:
    trt = library.handle
    if not order.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if library.builds_ahead:
        # else nothing can be recorded as a CUDA graph
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if order.level is not None:
        config.builder_optimization_level = order.level
    if order.sms:
        _aim(library, config, order.sms)


def _aim(library: Library, config: BuilderConfig, sms: Sequence[str]) -> None:
    """Build for named compute capabilities."""
    if not library.builds_ahead:
        raise ExportError(
            f"{library.name} builds for the GPU it runs on and no other; leave the compute capability out, or take "
            f"tensorrt_rtx"
        )
    known: dict[str, Any] = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in library.handle.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    if unknown := [sm for sm in sms if sm not in known]:
        raise ExportError(
            f"{library.name} {library.version} cannot build for compute capability {unknown[0]}; it knows "
            f"{', '.join(known)}"
        )
    config.num_compute_capabilities = len(sms)
    for place, sm in enumerate(sms):
        if not config.set_compute_capability(known[sm], place):
            raise _failed(library, f"refuses compute capability {sm}")


def _use_timings(library: Library, config: BuilderConfig, timings: bytes) -> bool:
    """Let the builder look up what it measured before; a cache of another device or version counts as empty."""
    if library.builds_ahead:
        return False  # this library measures nothing while it builds
    for known in (timings, b""):
        cache = config.create_timing_cache(known)
        if cache is not None and config.set_timing_cache(cache, False):
            return True
    raise _failed(library, "takes no timing cache")


def _timings(config: BuilderConfig) -> bytes:
    cache = config.get_timing_cache()
    return b"" if cache is None else bytes(cache.serialize())


def _failed(library: Library, what: str) -> ExportError:
    return ExportError(f"{library.name} {library.version} {what}: {library.journal.complaint()}")
