"""TensorRT without a GPU: the part of the module that runs plans, failing like the real one.

Nothing raises: a failure is None or False and a line in the log. A runtime that is made before the driver was started ends the
process in reality, and the test here. A plan is JSON: its profiles and what it declares. Rows are computed from what lies in the
fake device's memory when the stream gets there, so that a wrong address, size or order gives wrong rows.
"""

import ctypes
import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.vireid.engines.fake_cuda import OK, FakeCuda
from vireid.engines import tensorrt, tensorrt_library
from vireid.engines.plans import Found, Sidecar
from vireid.engines.tensorrt import Choices, TensorRtEngine
from vireid.engines.tensorrt_buckets import Bucket
from vireid.engines.tensorrt_driver import CudaDriver
from vireid.engines.tensorrt_lane import Shape

HEIGHT, WIDTH, DIM = 32, 16, 8
VERSION = "11.4.0.106"
PROFILES = [[1, 1, 1], [2, 4, 4], [5, 16, 16]]
PROJECTION = np.random.default_rng(11).standard_normal((HEIGHT * WIDTH * 3, DIM)).astype(np.float32)
SHIFTS = np.random.default_rng(12).standard_normal((2, DIM)).astype(np.float32)


def rows_of(images: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """What a plan computes; one row at a time, so that company does not change the last bits."""
    light = images.reshape(len(images), -1).astype(np.float32) / 255 - 0.5
    rows = np.stack([row @ PROJECTION for row in light]) + SHIFTS[modality]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plan_bytes(**changes: Any) -> bytes:
    words: dict[str, Any] = {
        "version": VERSION,
        "sm": [9, 0],
        "profiles": PROFILES,
        "tensors": {
            "images": ["UINT8", [-1, HEIGHT, WIDTH, 3]],
            "modality": ["INT64", [-1]],
            "embeddings": ["FLOAT", [-1, DIM]],
        },
    }
    return json.dumps(words | changes).encode()


class FakeTensorRt:
    """The module."""

    __version__ = VERSION

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.contexts: list[FakeContext] = []
        self.refuse: set[str] = set()  # functions that answer None or False
        self.capturable = True
        self.spoils = lambda rows: rows

        class ILogger:
            def __init__(self) -> None:
                self.ready = True

        self.ILogger = ILogger
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")

    def Runtime(self, logger: Any) -> "FakeRuntime":  # noqa: N802
        assert logger.ready, "the logger's own __init__ was not called"
        assert self.cuda.started, "a runtime before the driver: a segmentation fault"
        return FakeRuntime(self, logger)


class FakeRuntime:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "FakeEngine | None":
        try:
            words = json.loads(serialized_engine)
        except ValueError:
            self._logger.log(
                1, "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magic tag does not match)"
            )
            return None
        if words["version"] != self._trt.__version__:
            self._logger.log(
                1, "The engine plan file is not compatible with this version of TensorRT, please rebuild"
            )
            return None
        if tuple(words["sm"]) != self._trt.cuda.sm:
            self._logger.log(1, "The engine plan file is generated on an incompatible device, expecting ...")
            return None
        return FakeEngine(self._trt, words, self._logger)


class FakeEngine:
    device_memory_size_v2 = 4096

    def __init__(self, trt: FakeTensorRt, words: dict[str, Any], logger: Any) -> None:
        self.trt, self.words, self.tell = trt, words, logger.log
        self.num_io_tensors = len(words["tensors"])
        self.num_optimization_profiles = len(words["profiles"])

    def get_tensor_name(self, index: int) -> str:
        return list(self.words["tensors"])[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.words["tensors"][name][0])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.words["tensors"][name][1])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        rest = self.words["tensors"][name][1][1:]
        return [(size, *rest) for size in self.words["profiles"][profile_index]]

    def create_runtime_config(self) -> Any:
        return FakeConfig()

    def create_execution_context(self, runtime_config: Any) -> "FakeContext | None":
        assert runtime_config.strategy == "user managed"
        if "create_execution_context" in self.trt.refuse:
            self.tell(1, "IExecutionContext: out of memory")
            return None
        context = FakeContext(self)
        self.trt.contexts.append(context)
        return context


class FakeConfig:
    strategy: Any = None
    dynamic_shapes_kernel_specialization_strategy: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.trt = engine, engine.trt
        self.profile = -1
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch = (0, 0)
        self.settings = {"address": 0, "profile": 0, "shape": 0, "run": 0}

    def _no(self, name: str) -> bool:
        if name in self.trt.refuse:
            self.engine.tell(1, f"IExecutionContext::{name}: Error Code 3: API Usage Error")
            return True
        return False

    def set_device_memory(self, memory: int, size: int) -> None:
        self.scratch = (memory, size)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if self._no("set_optimization_profile_async") or stream_handle not in self.trt.cuda.streams:
            return False
        self.profile = profile_index
        self.shapes.clear()  # as in reality: a new profile forgets the shapes
        self.settings["profile"] += 1
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._no("set_tensor_address") or name not in self.engine.words["tensors"]:
            return False
        self.addresses[name] = memory
        self.settings["address"] += 1
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.words["profiles"][self.profile]
        if self._no("set_input_shape") or not least <= shape[0] <= most:
            self.engine.tell(1, f"Supplied shape {shape} does not satisfy profile {self.profile}")
            return False
        self.shapes[name] = tuple(shape)
        self.settings["shape"] += 1
        return True

    def infer_shapes(self) -> list[str]:
        if "infer_shapes" in self.trt.refuse:
            raise RuntimeError("shape inference failed")
        return [name for name in ("images", "modality") if name not in self.shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda = self.trt.cuda
        address, size = self.scratch
        if (
            self._no("execute_async_v3")
            or size < self.engine.device_memory_size_v2
            or address not in cuda.memory
        ):
            return False
        if not self.trt.capturable and cuda.streams[stream_handle].recording is not None:
            cuda.spoil(stream_handle)
            self.engine.tell(1, "[genericReformat.cu] Cuda Runtime (operation not permitted when capturing)")
            return False
        self.settings["run"] += 1
        batch = self.shapes["images"][0]
        places = dict(self.addresses)
        return cuda.enqueue(stream_handle, lambda: self._compute(places, batch)) == OK

    def _compute(self, places: dict[str, int], batch: int) -> None:
        memory = self.trt.cuda.memory
        images = np.frombuffer(memory[places["images"]], np.uint8, batch * HEIGHT * WIDTH * 3)
        modality = np.frombuffer(memory[places["modality"]], np.int64, batch)
        rows = self.trt.spoils(rows_of(images.reshape(batch, HEIGHT, WIDTH, 3), modality))
        assert rows.nbytes <= len(memory[places["embeddings"]])
        ctypes.memmove(places["embeddings"], np.ascontiguousarray(rows).ctypes.data, rows.nbytes)


def engine(space_id: str = "0" * 64) -> TensorRtEngine:
    """The engine over the fakes, whose largest bucket is 16."""
    cuda = FakeCuda()
    library = tensorrt_library.known("tensorrt", FakeTensorRt(cuda))
    driver = CudaDriver(cuda)  # type: ignore[arg-type]
    choices = Choices(buckets=tuple(Bucket(*sizes) for sizes in PROFILES), graphs_up_to=3)
    purpose = tensorrt.purpose(b"", "fp32", library, choices, driver.gpu)
    sidecar = Sidecar(purpose=purpose, file="", plan="", parsed="", built_s=0, vireid="0")
    plan = tensorrt.read(library, Found(sidecar, plan_bytes()), Shape(HEIGHT, WIDTH, DIM))
    return TensorRtEngine(plan, driver, space_id, "fp32", choices)
