"""A TensorRT plan as an engine, for ``tensorrt`` 11 and ``tensorrt_rtx`` alike.

The driver is asked first: without one TensorRT's runtime ends the process instead of failing. Then the sidecar, then the plan:
nothing that was built for something else is opened. Every plan proves itself on grey pictures before it is handed out.
"""

import hashlib
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.bundle import Bundle
from vireid.engines import plans, tensorrt_library
from vireid.engines import tensorrt_buckets as bucketing
from vireid.engines.base import EngineInfo, Loaded, check_batch, check_rows
from vireid.engines.plans import Found, PlanStore, Purpose
from vireid.engines.tensorrt_buckets import BUCKETS, Bucket
from vireid.engines.tensorrt_driver import Driver, Gpu, open_driver
from vireid.engines.tensorrt_lane import EMBEDDINGS, IMAGES, MODALITY, Lane, Plan, Shape
from vireid.engines.tensorrt_library import AUTO, Library
from vireid.errors import EngineError

UNPROVEN = "ENGINE_UNPROVEN"
DTYPES = {IMAGES: "UINT8", MODALITY: "INT64", EMBEDDINGS: "FLOAT"}


@dataclass(frozen=True, slots=True)
class Choices:
    """How plans are built and run; the same choices find a plan again.

    Attributes:
        folder: where plans are kept.
        flavour: ``tensorrt``, ``tensorrt_rtx``, or ``auto``.
        buckets: batch sizes a new plan is tuned for.
        tf32: let fp32 arithmetic round its inputs to 10 bits.
        level: how long the builder looks for fast kernels, 0 to 5; None for its default.
        lanes: batches that run side by side.
        graphs_up_to: batches up to this size run from CUDA graphs.
        allow_unproven: open a plan that has no passing parity report.
    """

    folder: Path = field(default_factory=plans.default_folder)
    flavour: str = AUTO
    buckets: tuple[Bucket, ...] = BUCKETS
    tf32: bool = False
    level: int | None = None
    lanes: int = 2
    graphs_up_to: int = 8
    allow_unproven: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """The builder's settings, as they are told in a sidecar."""
        return (
            *(("tf32",) if self.tf32 else ()),
            *((f"level={self.level}",) if self.level is not None else ()),
        )


def purpose(
    graph: bytes, precision: str, library: Library, choices: Choices, gpu: Gpu | None, sms: Sequence[str] = ()
) -> Purpose:
    """Say what a plan must be for.

    Args:
        graph: the ONNX file in the bundle.
        precision: of the graph.
        library: that runs or builds it.
        choices: how it is built.
        gpu: that runs it; None for a plan built ahead of time.
        sms: the compute capabilities that a plan built ahead of time is for; any if left out.
    """
    return Purpose(
        graph=hashlib.sha256(graph).hexdigest(),
        module=library.name,
        version=library.version,
        gpu=gpu.name if gpu else plans.ANY_GPU,
        sm=gpu.sm if gpu else ",".join(sms) or plans.ANY_SM,
        precision=precision,
        buckets=tuple((one.least, one.usual, one.most) for one in choices.buckets),
        flags=choices.flags,
    )


def purposes(
    graph: bytes, precision: str, library: Library, choices: Choices, gpu: Gpu
) -> tuple[Purpose, ...]:
    """Say what plans a GPU can run: one built for it, then those built ahead of time."""
    ahead = ((gpu.sm,), ()) if library.builds_ahead else ()
    return (
        purpose(graph, precision, library, choices, gpu),
        *(purpose(graph, precision, library, choices, None, sms) for sms in ahead),
    )


def find(
    bundle: Bundle, file: str, precision: str, choices: Choices, driver: Driver
) -> tuple[Library, Found]:
    """Find the plan of a bundle's graph for this machine.

    Raises:
        MissingExtra, ProviderUnavailable: TensorRT is not there.
        EngineError: there is no plan, or none that fits (PLAN_MISSING, PLAN_MISMATCH), or it was not proven
            (ENGINE_UNPROVEN).
    """
    library = tensorrt_library.load(choices.flavour)
    wanted = purposes(bundle.file(file), precision, library, choices, driver.gpu)
    found = PlanStore(choices.folder).find(*wanted)
    if not found.sidecar.proven and not choices.allow_unproven:
        failures = found.sidecar.parity.get("failures") or ["it was never held against its model"]
        raise EngineError(
            f"the {precision} plan is not proven ({'; '.join(map(str, failures))}); prove it here with "
            f"'vireid export tensorrt', or take the risk with --allow-unproven",
            reason=UNPROVEN,
        )
    return library, found


def open_engine(
    bundle: Bundle,
    file: str,
    precision: str,
    choices: Choices | None = None,
    opened: Callable[[], Driver] = open_driver,
) -> "TensorRtEngine":
    """Open the plan of a bundle's graph.

    Args:
        bundle: that holds the graph.
        file: the graph's name in it.
        precision: of the graph.
        choices: where the plan is kept and how it runs.
        opened: opens the driver; exchanged where there is no GPU.

    Raises:
        ProviderUnavailable: there is no driver, no GPU, or the library does not start.
        MissingExtra: TensorRT is not installed.
        EngineError: there is no plan that fits, or it does not run.
    """
    choices = choices or Choices()
    driver = opened()  # before anything of TensorRT is called
    library, found = find(bundle, file, precision, choices, driver)
    part = bundle.manifest
    shape = Shape(part.preprocess.height, part.preprocess.width, part.model.dim)
    return TensorRtEngine(read(library, found, shape), driver, bundle.space_id, precision, choices)


def read(library: Library, found: Found, shape: Shape) -> Plan:
    """Let the library read a plan, and check what the plan declares.

    Raises:
        EngineError: it is refused (PLAN_MISMATCH), in the library's own words, or declares something else.
    """
    buckets = found.sidecar.purpose.profiles
    engine = library.runtime().deserialize_cuda_engine(found.plan)
    if engine is None:
        raise EngineError(
            f"{library.name} {library.version} refuses the plan: {library.journal.complaint()}; "
            f"build it here with 'vireid export tensorrt'",
            reason=plans.MISMATCH,
        )
    plan = Plan(library, engine, buckets, shape)
    if differs := _differences(plan):
        raise EngineError(
            f"the plan is not what its sidecar says ({differs}); build it again", reason=plans.MISMATCH
        )
    return plan


def _differences(plan: Plan) -> str:
    engine, shape = plan.engine, plan.shape
    expected = {IMAGES: (-1, shape.height, shape.width, 3), MODALITY: (-1,), EMBEDDINGS: (-1, shape.dim)}
    names = {engine.get_tensor_name(number) for number in range(engine.num_io_tensors)}
    if names != set(expected):
        return f"found the tensors {sorted(names)}, expected {sorted(expected)}"
    for name, wanted in expected.items():
        found = tuple(engine.get_tensor_shape(name))
        kind = getattr(engine.get_tensor_dtype(name), "name", "?")
        if found != wanted or kind != DTYPES[name]:
            return f"found {name} {kind} {found}, expected {DTYPES[name]} {wanted}"
    if engine.num_optimization_profiles != len(plan.buckets):
        return f"found {engine.num_optimization_profiles} profiles, expected {len(plan.buckets)}"
    for number, bucket in enumerate(plan.buckets):
        sizes = tuple(one[0] for one in engine.get_tensor_profile_shape(IMAGES, number))
        if sizes != (bucket.least, bucket.usual, bucket.most):
            return f"found profile {number} for batches {sizes}, expected {bucket}"
    return ""


class TensorRtEngine(Loaded):
    """Runs a plan; batches beyond its largest bucket are cut.

    Args:
        plan: in the library's memory.
        driver: of the GPU.
        space_id: of the bundle.
        precision: of the plan.
        choices: how it runs.

    Raises:
        EngineError: it does not run.
    """

    def __init__(self, plan: Plan, driver: Driver, space_id: str, precision: str, choices: Choices) -> None:
        self._plan = plan
        library = plan.library
        info = EngineInfo(
            runtime=f"{library.name} {library.version}",
            provider=f"TensorRT on {driver.gpu.name} (sm {driver.gpu.sm})",
            device="cuda:0",
            precision=precision,
            threads=1,
        )
        super().__init__(info, space_id, (plan.shape.height, plan.shape.width), plan.shape.dim)
        self._lanes: queue.LifoQueue[Lane] = queue.LifoQueue()
        # once in each size that is recorded, and in the largest: the first request is not to wait for it
        sizes = sorted({*range(1, min(choices.graphs_up_to, plan.most) + 1), min(2, plan.most), plan.most})
        grey = np.full((plan.most, *self.input_size, 3), 128, np.uint8)
        modality: Int64Array = np.arange(plan.most) % 2
        for _ in range(choices.lanes):
            lane = Lane(plan, driver, choices.graphs_up_to)
            for size in sizes:
                check_rows(lane.run(grey[:size], modality[:size]))
            self._lanes.put(lane)

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images; as many calls run side by side as there are lanes.

        Args:
            images: RGB, (B, H, W, 3), B >= 1.
            modality: 0 visible, 1 infrared, (B,).

        Returns:
            Unit rows, (B, D).

        Raises:
            EngineError: the shape or type is wrong, or the runtime failed.
        """
        check_batch(images, modality, self.input_size)
        with self._lane() as lane:
            rows = [
                lane.run(images[part], modality[part])
                for part in bucketing.parts(len(images), self._plan.most)
            ]
        found = rows[0] if len(rows) == 1 else np.concatenate(rows)
        check_rows(found)
        return found

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self._lanes.get()
        try:
            yield lane
        finally:
            self._lanes.put(lane)
