"""From a bundle to a kept plan of one precision: which graph, what is there already, building, proving.

A plan is proven on the machine it was built for, against the bundle's own model; its report is kept beside it. Where there is no
GPU a plan can be built ahead of time by ``tensorrt_rtx`` and stays unproven. Knows no command line.
"""

import importlib.metadata
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from export import half, to_tensorrt
from export.bars import BARS
from export.exam import Exam
from export.parity import Report, examined
from export.tensorrt_progress import Tell
from export.to_tensorrt import Order
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine, tensorrt
from vireid.engines.plans import Found, PlanStore, Purpose, Sidecar, sealed
from vireid.engines.tensorrt import Choices, TensorRtEngine
from vireid.engines.tensorrt_driver import Driver
from vireid.engines.tensorrt_lane import Shape
from vireid.engines.tensorrt_library import Library
from vireid.errors import EngineError, ExportError, MissingExtra, ProviderUnavailable

RUNTIME = "tensorrt"
# precisions that follow from the model alone; the others need images to calibrate on
DERIVED = ("fp16", "bf16")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a plan is built and tried with.

    Attributes:
        library: TensorRT.
        driver: of the GPU; None where there is none.
        choices: how plans are built and where they are kept.
        sms: compute capabilities a plan built ahead of time is for; any if empty.
    """

    library: Library
    driver: Driver | None
    choices: Choices
    sms: tuple[str, ...] = ()

    @property
    def store(self) -> PlanStore:
        """Where plans are kept."""
        return PlanStore(self.choices.folder)


@dataclass(frozen=True, slots=True)
class Made:
    """A kept plan.

    Attributes:
        sidecar: what is told of it.
        built: whether it was built now; it was there already otherwise.
        unproven: why it was not proven; empty if it was.
        size: of the plan, in bytes.
    """

    sidecar: Sidecar
    built: bool
    unproven: str
    size: int


def graph_of(
    bundle: Bundle, precision: str, *, exact: bool = False
) -> tuple[EnginePart, Mapping[str, bytes]]:
    """Find or make the graph of a precision.

    Args:
        bundle: that has it, or the model it is made from.
        precision: of the plan.
        exact: of a graph that is made here, keep sums fp32: nearer, and slower.

    Returns:
        The engine as the bundle has it or is to have it, and the files that are new.

    Raises:
        ExportError: this precision needs a graph that only calibration can make.
    """
    for part in bundle.manifest.engines:
        if part.runtime == RUNTIME and part.precision == precision:
            return part, {}
    if precision == "fp32":
        return _part(precision, bundle.manifest.model.file), {}
    if precision in DERIVED:
        for part in bundle.manifest.engines:
            if part.runtime == "onnxruntime" and part.precision == precision:
                return _part(precision, part.file), {}
        name = f"{RUNTIME}-{precision}.onnx"
        # the type checker cannot see that DERIVED are the precisions that are halves
        wanted: half.Half = "fp16" if precision == "fp16" else "bf16"
        halved = half.halve(bundle.file(bundle.manifest.model.file), wanted, exact=exact)
        return _part(precision, name), {name: halved.graph}
    # fp8 is for TensorRT alone
    whose = "" if precision == "fp8" else " --runtime tensorrt"
    raise ExportError(
        f"{bundle.path} holds no {precision} graph for TensorRT; make one first: "
        f"vireid export {precision} {bundle.path}{whose} --calibrate DIR"
    )


def make(  # noqa: PLR0913 - the command hands over each part by name
    bundle: Bundle,
    part: EnginePart,
    workshop: Workshop,
    exam: Callable[[], Exam],
    *,
    tell: Tell = lambda _done: None,
    again: bool = False,
    keep_failed: bool = False,
) -> Made:
    """Build a plan unless one is there, prove it where it can run, and keep it.

    Args:
        bundle: that holds the graph.
        part: which of its engines.
        workshop: what to build with.
        exam: gives what to prove on; asked only if there is a GPU.
        tell: told the part of the build that is done, from 0 to 1.
        again: build though a plan is there.
        keep_failed: keep a plan though it failed; it is served with ``--allow-unproven`` only.

    Raises:
        ExportError: the build fails, or the plan is not near enough to its model; nothing is kept.
        EngineError: the plan does not run here.
        ProviderUnavailable: this library builds on a GPU only, and there is none.
        StorageError: the disk is full or refuses; where nothing can be kept, nothing is built.
    """
    if workshop.driver is None and not workshop.library.builds_ahead:
        raise ProviderUnavailable(
            f"{workshop.library.name} builds on the GPU that is to run the plan, and there is none here; "
            f"tensorrt_rtx (vireid[tensorrt-rtx]) builds ahead of time"
        )
    fitting = _purposes(bundle, part, workshop)
    if not again and (made := _made(workshop, _there(workshop.store, fitting))):
        return made
    with workshop.store.building(fitting[0]):
        found = None if again else _there(workshop.store, fitting)
        if made := _made(workshop, found):
            return made  # whom we waited for made it
        ready = found or _built(bundle, part, workshop, fitting[0], tell)
        if workshop.driver is None:
            workshop.store.keep(ready.sidecar, ready.plan)
            return Made(ready.sidecar, True, _no_gpu(), len(ready.plan))
        report, page = prove(bundle, part, workshop, ready, exam())
        if not report.passed and not keep_failed:
            raise ExportError(
                f"the {part.precision} plan is not near enough to its model, so it is not kept: "
                + "; ".join(report.failures)
            )
        sidecar = sealed(ready.sidecar.model_copy(update={"parity": report.as_json()}), ready.plan, page)
        workshop.store.keep(sidecar, ready.plan, page)
        return Made(
            sidecar, found is None, "" if report.passed else "; ".join(report.failures), len(ready.plan)
        )


def prove(
    bundle: Bundle, part: EnginePart, workshop: Workshop, found: Found, exam: Exam
) -> tuple[Report, bytes]:
    """Hold a plan, run as it will be served, against the bundle's model.

    Returns:
        What was found, and a page of it; that is empty where the extra ``evaluation`` is not installed, as on a server.

    Raises:
        EngineError: it does not run here.
    """
    assert workshop.driver is not None
    manifest = bundle.manifest
    shape = Shape(manifest.preprocess.height, manifest.preprocess.width, manifest.model.dim)
    candidate = TensorRtEngine(
        tensorrt.read(workshop.library, found, shape),
        workshop.driver,
        bundle.space_id,
        part.precision,
        workshop.choices,
    )
    report, compared = examined(open_engine(bundle, device="cpu"), candidate, exam, BARS[part.precision])
    try:
        from export import parity_page
    except MissingExtra as missing:
        log.warning("the report of %s is kept without a page: %s", part.name, missing.message)
        return report, b""
    return report, parity_page.html(part.name, report, compared, exam).encode()


def _part(precision: str, file: str) -> EnginePart:
    return EnginePart.model_validate({"runtime": RUNTIME, "precision": precision, "file": file})


def _purposes(bundle: Bundle, part: EnginePart, workshop: Workshop) -> tuple[Purpose, ...]:
    """Say what is to be built, and after it what else would do."""
    given = (bundle.file(part.file), part.precision, workshop.library, workshop.choices)
    # a plan for named GPUs is one built ahead of time, though there may be a GPU here
    if workshop.driver is None or workshop.sms:
        return (tensorrt.purpose(*given, None, workshop.sms),)
    return tensorrt.purposes(*given, workshop.driver.gpu)


def _made(workshop: Workshop, found: Found | None) -> Made | None:
    """Say that there is nothing to do: the plan is there, and proven as far as can be here."""
    if found is None or not (found.sidecar.proven or workshop.driver is None):
        return None
    return Made(found.sidecar, False, "" if found.sidecar.proven else _no_gpu(), len(found.plan))


def _there(store: PlanStore, fitting: tuple[Purpose, ...]) -> Found | None:
    try:
        found = store.find(*fitting)
    except EngineError:
        return None  # none, or one that is to be replaced: either way a new one is built
    return found if found.sidecar.purpose in fitting else None


def _built(bundle: Bundle, part: EnginePart, workshop: Workshop, purpose: Purpose, tell: Tell) -> Found:
    manifest, choices = bundle.manifest, workshop.choices
    order = Order(
        height=manifest.preprocess.height,
        width=manifest.preprocess.width,
        buckets=choices.buckets,
        tf32=choices.tf32,
        level=choices.level,
        sms=workshop.sms,
        timings=workshop.store.timings(purpose),
    )
    built = to_tensorrt.build(workshop.library, bundle.file(part.file), order, tell)
    if built.timings:
        workshop.store.keep_timings(purpose, built.timings)
    sidecar = Sidecar(
        purpose=purpose,
        file="",
        plan="",
        parsed=built.parsed,
        cuda=workshop.driver.gpu.cuda if workshop.driver is not None else "",
        built_s=round(built.seconds, 2),
        vireid=importlib.metadata.version("vireid"),
    )
    return Found(sealed(sidecar, built.plan), built.plan)


def _no_gpu() -> str:
    return "there is no GPU here that could run it; run this command again where it is to serve"
