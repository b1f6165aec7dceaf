"""One worker's share of a TensorRT plan: a stream, buffers, contexts and CUDA graphs. For one thread at a time.

A bucket has a context of its own, so that no profile is ever switched; so has each small batch size, whose work is recorded once
as a CUDA graph and run again from it. All contexts of a lane share one piece of memory: they never run at the same time.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.engines import tensorrt_buckets as bucketing
from vireid.engines.tensorrt_api import CudaEngine, ExecutionContext
from vireid.engines.tensorrt_buckets import Bucket
from vireid.engines.tensorrt_driver import Driver
from vireid.engines.tensorrt_library import Library
from vireid.errors import EngineError

IMAGES, MODALITY, EMBEDDINGS = "images", "modality", "embeddings"
SMALLEST_SCRATCH = 256  # bytes; a plan may need none, but an address must be given

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a plan takes and gives: images of (height, width), rows of dim."""

    height: int
    width: int
    dim: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the library's memory.

    Attributes:
        library: that read it.
        engine: the plan.
        buckets: one for each of its profiles.
        shape: of images and rows.
    """

    library: Library
    engine: CudaEngine
    buckets: Sequence[Bucket]
    shape: Shape

    @property
    def most(self) -> int:
        """The largest batch."""
        return self.buckets[-1].most


class Lane:
    """Runs batches of a plan.

    Args:
        plan: to run.
        driver: of the GPU.
        graphs_up_to: batches as large as this are run from CUDA graphs; larger ones gain nothing by it.

    Raises:
        EngineError: there is not enough memory, or the library refuses something.
    """

    def __init__(self, plan: Plan, driver: Driver, graphs_up_to: int) -> None:
        shape, most = plan.shape, plan.most
        self._plan, self._driver, self._graphs_up_to = plan, driver, graphs_up_to
        self._stream = driver.stream()
        self._row_bytes = (shape.height * shape.width * 3, 8, shape.dim * 4)
        self._blocks = tuple(driver.block(size * most) for size in self._row_bytes)
        self._images = self._blocks[0].host.reshape(most, shape.height, shape.width, 3)
        self._modality = self._blocks[1].host.view(np.int64)
        self._rows = self._blocks[2].host.view(np.float32).reshape(most, shape.dim)
        self._scratch_bytes = max(plan.engine.device_memory_size_v2, SMALLEST_SCRATCH)
        self._scratch = driver.block(self._scratch_bytes, twin=False)
        self._contexts: dict[tuple[str, int], ExecutionContext] = {}
        self._set: dict[tuple[str, int], int] = {}  # the batch each context is set to
        self._graphs: dict[int, Callable[[], None]] = {}

    @property
    def recorded(self) -> tuple[int, ...]:
        """The batch sizes that are run from a CUDA graph."""
        return tuple(sorted(self._graphs))

    def run(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed one batch, no larger than the plan's largest.

        Args:
            images: (B, H, W, 3).
            modality: (B,).

        Returns:
            Rows, (B, D).

        Raises:
            EngineError: the library or the device failed.
        """
        batch = len(images)
        self._driver.enter()
        self._images[:batch] = images
        self._modality[:batch] = modality
        graph = self._graphs.get(batch)
        if graph is not None:
            graph()
            self._stream.wait()
            return self._rows[:batch].copy()
        key = self._key(batch)
        context = self._context(key, batch)
        try:
            self._enqueue(context, batch)
        finally:
            self._stream.wait()  # after a failure too: what is under way still uses the buffers
        rows = self._rows[:batch].copy()
        if key[0] == "graph":
            self._record(context, batch)
        return rows

    def _key(self, batch: int) -> tuple[str, int]:
        if batch <= self._graphs_up_to:
            return "graph", batch
        return "bucket", bucketing.place(self._plan.buckets, batch)

    def _enqueue(self, context: ExecutionContext, batch: int) -> None:
        images, modality, rows = self._blocks
        self._stream.upload(images, batch * self._row_bytes[0])
        self._stream.upload(modality, batch * self._row_bytes[1])
        if not context.execute_async_v3(self._stream.handle):
            raise self._refused(f"the batch of {batch} was not run")
        self._stream.download(rows, batch * self._row_bytes[2])

    def _record(self, context: ExecutionContext, batch: int) -> None:
        """Record a batch size that just ran; where that fails, batches run as before, a little slower."""
        try:
            self._graphs[batch] = self._stream.capture(lambda: self._enqueue(context, batch))
        except EngineError as error:
            self._graphs_up_to = 0
            log.warning("CUDA graphs cannot be recorded (%s); small batches run without", error.message)

    def _context(self, key: tuple[str, int], batch: int) -> ExecutionContext:
        context = self._contexts.get(key)
        if context is None:
            profile = bucketing.place(self._plan.buckets, batch)
            context = self._contexts[key] = self._made(profile, recorded=key[0] == "graph")
        if self._set.get(key) != batch:
            self._reshape(context, batch)
            self._set[key] = batch
        return context

    def _made(self, profile: int, recorded: bool) -> ExecutionContext:
        """Make a context for a profile, with all addresses set for good."""
        library, engine = self._plan.library, self._plan.engine
        trt = library.handle
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if library.builds_ahead:
            # it compiles kernels for each shape as it runs. What is recorded must be the final ones; of a larger batch each
            # size would be waited for, so those are compiled beside the general kernels that run meanwhile
            config.dynamic_shapes_kernel_specialization_strategy = (
                trt.DynamicShapesKernelSpecializationStrategy.EAGER
                if recorded
                else trt.DynamicShapesKernelSpecializationStrategy.LAZY
            )
        context = engine.create_execution_context(config)
        if context is None:
            raise self._refused("no execution context was made")
        context.set_device_memory(self._scratch.address, self._scratch_bytes)
        if not context.set_optimization_profile_async(profile, self._stream.handle):
            raise self._refused(f"profile {profile} was not taken")
        for name, block in zip((IMAGES, MODALITY, EMBEDDINGS), self._blocks, strict=True):
            if not context.set_tensor_address(name, block.address):
                raise self._refused(f"the address of {name} was not taken")
        return context

    def _reshape(self, context: ExecutionContext, batch: int) -> None:
        shape = self._plan.shape
        shapes = {IMAGES: (batch, shape.height, shape.width, 3), MODALITY: (batch,)}
        for name, wanted in shapes.items():
            if not context.set_input_shape(name, wanted):
                raise self._refused(f"the shape {wanted} of {name} was not taken")
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            raise self._refused(f"shapes do not fit ({error})") from None
        if missing:
            raise self._refused(f"{', '.join(missing)} lack a shape or an address")

    def _refused(self, what: str) -> EngineError:
        library = self._plan.library
        return EngineError(f"{library.name} {library.version}: {what}: {library.journal.complaint()}")
