"""The forms in which an engine of a bundle can be opened here, and which of several is the fastest. Knows nothing of proof."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vireid.bundle import SOURCE, Bundle, EnginePart
from vireid.engines import open_engine, open_part, tuning
from vireid.engines.base import Engine

# of engines that are equally fast the more precise one is taken
PRECISIONS = ("fp32", "bf16", "fp16", "fp8", "int8")

Layout = Literal["blocked", "plain"]
# opens one form of a bundle: the bundle, the engine (None for the model itself), the device, the layout of maps
Opener = Callable[[Bundle, EnginePart | None, str, Layout], Engine]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """An opened engine in one layout of its maps.

    Attributes:
        name: of the engine.
        precision: of most of its arithmetic.
        layout: that concerns ONNX Runtime on a CPU only.
        engine: opened.
        another: opens one more just like it.
    """

    name: str
    precision: str
    layout: Layout
    engine: Engine
    another: Callable[[], Engine]


@dataclass(frozen=True, slots=True, eq=False)
class Fastest:
    """The fastest of several forms.

    Attributes:
        form: the fastest.
        seconds: that an image takes, by the name of the engine.
        settled: whether trying again would find the same.
        failed: by the name of an engine that opened and did not run, what it failed with.
    """

    form: Form
    seconds: Mapping[str, float]
    settled: bool
    failed: Mapping[str, str] = field(default_factory=dict)


def open_form(bundle: Bundle, part: EnginePart | None, device: str, layout: Layout) -> Engine:
    """Open an engine for one thread."""
    if part is not None and part.runtime != "onnxruntime":
        return open_part(bundle, part, device)
    if layout == "blocked":
        return open_engine(bundle, device) if part is None else open_part(bundle, part, device)
    from vireid.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, device, layout=layout, part=part)


def form(bundle: Bundle, part: EnginePart | None, device: str, layout: Layout, opener: Opener) -> Form:
    """Open an engine in one layout.

    Raises:
        EngineError, MissingExtra, BundleError: it cannot be opened here.
    """
    name, precision = (SOURCE, "fp32") if part is None else (part.name, part.precision)

    def another() -> Engine:
        return opener(bundle, part, device, layout)

    return Form(name, precision, layout, another(), another)


def forms(bundle: Bundle, part: EnginePart | None, device: str, opener: Opener) -> list[Form]:
    """Open an engine in every layout that may be the faster one here.

    Raises:
        EngineError, MissingExtra, BundleError: it cannot be opened here.
    """
    first = form(bundle, part, device, "blocked", opener)
    onnx = part is None or part.runtime == "onnxruntime"
    if onnx and first.engine.info.device == "cpu" and first.precision == "fp32":
        return [first, form(bundle, part, device, "plain", opener)]
    return [first]


def fastest(opened: Sequence[Form], clock: Callable[[], float]) -> Fastest:
    """Try forms in turns, and return the fastest; of equals the most precise.

    Raises:
        EngineError: all of them failed.
    """
    if len(opened) == 1:
        return Fastest(opened[0], {opened[0].name: 0.0}, True)
    # layouts of one engine differ alike at every size, and a server is to start soon
    sizes = tuning.SIZES if len({one.name for one in opened}) > 1 else tuning.SIZES[:1]
    found = tuning.tried([one.engine for one in opened], sizes, clock=clock)
    limit = min(found.seconds) / tuning.WORTH_IT
    near = [place for place, seconds in enumerate(found.seconds) if seconds <= limit]
    taken = opened[min(near, key=lambda place: (PRECISIONS.index(opened[place].precision), place))]
    best: dict[str, float] = {}
    failed: dict[str, str] = {}
    for place, (one, seconds) in enumerate(zip(opened, found.seconds, strict=True)):
        if place in found.failed:
            failed[one.name] = found.failed[place].message
        else:
            best[one.name] = min(seconds, best.get(one.name, seconds))
    return Fastest(taken, best, found.settled, {name: failed[name] for name in failed if name not in best})
