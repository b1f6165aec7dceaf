"""The slice of TensorRT's Python interface that is called here, as types.

``tensorrt`` 11 and ``tensorrt_rtx`` share it. The type checker holds our calls against this file, and a test holds this file
against the names of the real bindings. Knows no library: nothing is imported.
"""

# ruff: noqa: D102, A002 - what a method does, and how its arguments are called, is the library's

from collections.abc import Sequence
from typing import Any, Protocol


class HostMemory(Protocol):
    """Bytes that the library owns."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class ParserError(Protocol):
    """One complaint of the parser."""

    def desc(self) -> str: ...


class OnnxParser(Protocol):
    """Reads ONNX into a network."""

    @property
    def num_errors(self) -> int: ...

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class OptimizationProfile(Protocol):
    """The shapes that kernels are chosen for."""

    def set_shape(
        self,
        input: str,
        min: Sequence[int],
        opt: Sequence[int],
        max: Sequence[int],
    ) -> None: ...


class TimingCache(Protocol):
    """What kernels took, from an earlier build."""

    def serialize(self) -> HostMemory: ...


class BuilderConfig(Protocol):
    """How a plan is built."""

    progress_monitor: Any
    builder_optimization_level: int
    num_compute_capabilities: int

    def add_optimization_profile(self, profile: OptimizationProfile) -> int: ...
    def set_flag(self, flag: Any) -> None: ...
    def clear_flag(self, flag: Any) -> None: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache | None: ...
    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> TimingCache | None: ...
    def set_compute_capability(self, compute_capability: Any, index: int) -> bool: ...


class Builder(Protocol):
    """Makes plans."""

    def create_network(self, flags: int) -> Any: ...
    def create_builder_config(self) -> BuilderConfig | None: ...
    def create_optimization_profile(self) -> OptimizationProfile: ...
    def build_serialized_network(self, network: Any, config: BuilderConfig) -> HostMemory | None: ...


class RuntimeConfig(Protocol):
    """How contexts are made."""

    dynamic_shapes_kernel_specialization_strategy: Any

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None: ...


class ExecutionContext(Protocol):
    """What runs a plan, for one stream at a time."""

    def set_device_memory(self, memory: int, size: int) -> None: ...
    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool: ...
    def infer_shapes(self) -> list[str]: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class CudaEngine(Protocol):
    """A plan in memory."""

    @property
    def num_io_tensors(self) -> int: ...
    @property
    def num_optimization_profiles(self) -> int: ...
    @property
    def device_memory_size_v2(self) -> int: ...

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Sequence[int]]: ...
    def create_runtime_config(self) -> RuntimeConfig: ...
    def create_execution_context(self, runtime_config: RuntimeConfig) -> ExecutionContext | None: ...


class Runtime(Protocol):
    """Reads plans."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None: ...
