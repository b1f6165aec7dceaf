"""Which of a bundle's engines serves: one asked for by name, or the fastest that runs here and was proven.

Every engine that is not taken comes with its reason. Knows no runtime and no server.
"""

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vireid.bundle import SOURCE, Bundle, EnginePart
from vireid.engines import open_engine, open_part, tuning
from vireid.engines.base import Engine
from vireid.errors import BundleCorrupt, EngineError, MissingExtra, VireidError

AUTO = "auto"
# of engines that are equally fast the more precise one is taken
PRECISIONS = ("fp32", "bf16", "fp16", "fp8", "int8")

Layout = Literal["blocked", "plain"]
# opens one form of a bundle: the bundle, the engine (None for the model itself), the device, the layout of maps
Opener = Callable[[Bundle, EnginePart | None, str, Layout], Engine]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An engine of the bundle that does not serve, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The engine that serves.

    Attributes:
        name: of the engine.
        reason: why it was taken.
        proven: whether it passed parity.
        not_taken: the bundle's other engines.
        engine: opened.
        another: opens one more just like it.
    """

    name: str
    reason: str
    proven: bool
    not_taken: tuple[NotTaken, ...]
    engine: Engine
    another: Callable[[], Engine]

    def for_workers(self, count: int) -> list[Engine]:
        """Return engines for so many threads that embed side by side: one each on a CPU, one in all on a GPU."""
        if self.engine.info.device != "cpu":
            return [self.engine]
        return [self.engine, *(self.another() for _ in range(count - 1))]

    def as_json(self) -> dict[str, Any]:
        """What users are told of it."""
        return {
            "name": self.name,
            "reason": self.reason,
            "proven": self.proven,
            "not_taken": [{"name": other.name, "reason": other.reason} for other in self.not_taken],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """An opened engine in one layout of its maps, and what opens another."""

    name: str
    precision: str
    engine: Engine
    another: Callable[[], Engine]


def choose(
    bundle: Bundle,
    wish: str = AUTO,
    device: str = "auto",
    *,
    allow_unproven: bool = False,
    opener: Opener | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Choose and open the engine that serves a bundle.

    ``auto`` tries what is proven and runs here in turns, for seconds, and takes the fastest; of equals the most precise.
    It never takes a further engine that is not proven; such a one must be asked for by name.

    Args:
        bundle: whose engines.
        wish: ``auto``, or a name such as ``onnxruntime-int8``.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` never falls back silently.
        allow_unproven: take what is asked for though it has no passing parity report.
        opener: opens a form; that of ``vireid.engines`` if None.
        clock: seconds that never run back.

    Raises:
        EngineError: no engine of that name, one that may not serve (``ENGINE_UNPROVEN``), or none that can.
        ProviderUnavailable: the asked-for device is not there.
        MissingExtra: the runtime asked for is not installed.
        BundleError: a graph is not what the manifest promises.
    """
    opener = opener or open_form
    if wish != AUTO:
        return _named(bundle, wish, device, allow_unproven, opener, clock)
    forms, refused = _usable(bundle, device, allow_unproven, opener)
    taken, seconds = _fastest(forms, clock)
    names = list(dict.fromkeys(form.name for form in forms))
    slower = [
        NotTaken(name, f"{_ms(seconds[name])} an image here; {taken.name} takes {_ms(seconds[taken.name])}")
        for name in names
        if name != taken.name
    ]
    if slower:
        reason = (
            f"the fastest of {len(names)} that are proven and run here: {_ms(seconds[taken.name])} an image"
        )
    else:
        reason = (
            "the only engine that is proven and runs here" if bundle.manifest.engines else "the only engine"
        )
    order = [SOURCE, *(part.name for part in bundle.manifest.engines)]
    others = sorted((*slower, *refused), key=lambda one: order.index(one.name))
    return Choice(
        taken.name, reason, unproven(bundle, taken.name) == "", tuple(others), taken.engine, taken.another
    )


def alone(name: str, reason: str, engine: Engine) -> Choice:
    """Return the choice of an engine that has no bundle; all workers share it."""
    return Choice(name, reason, False, (), engine, lambda: engine)


def names(bundle: Bundle) -> tuple[str, ...]:
    """Name a bundle's engines, the model itself first."""
    return (SOURCE, *(part.name for part in bundle.manifest.engines))


def part_of(bundle: Bundle, name: str) -> EnginePart | None:
    """Return the part of that name, None for the model itself.

    Raises:
        EngineError: the bundle has none of that name.
    """
    if name == SOURCE:
        return None
    for part in bundle.manifest.engines:
        if part.name == name:
            return part
    known = names(bundle)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise EngineError(
        f"{bundle.path} has no engine {name!r}; it has {', '.join(known)}{hint}", reason="ENGINE_UNKNOWN"
    )


def open_named(bundle: Bundle, name: str, device: str = "auto", threads: int = 1) -> Engine:
    """Open an engine of a bundle by its name, proven or not; the model itself is ``onnxruntime-fp32``.

    Raises:
        EngineError: the bundle has none of that name, or it does not run here.
        MissingExtra: its runtime is not installed.
        BundleCorrupt: the graph is not what the manifest promises.
    """
    part = part_of(bundle, name)
    if part is None:
        return open_engine(bundle, device, threads)
    return open_part(bundle, part, device, threads)


def open_proven(bundle: Bundle, name: str, device: str = "auto", threads: int = 1) -> Engine:
    """Open an engine by its name, if what it embeds may stand beside what the model embeds.

    Raises:
        EngineError: as for ``open_named``; also a further engine that was not proven (``ENGINE_UNPROVEN``).
        MissingExtra, BundleCorrupt: as for ``open_named``.
    """
    trouble = "" if part_of(bundle, name) is None else unproven(bundle, name)
    if trouble:
        raise EngineError(f"the engine {name} may not embed: {trouble}", reason="ENGINE_UNPROVEN")
    return open_named(bundle, name, device, threads)


def unproven(bundle: Bundle, name: str) -> str:
    """Say why an engine is not proven, and what proves it; empty if it is, or if opening it says so.

    Raises:
        EngineError: the bundle has none of that name.
    """
    part = part_of(bundle, name)
    if part is None:
        return (
            ""
            if _exported(bundle)
            else (
                "the bundle does not say that its model was held against the network it was exported from; "
                "export it again with: vireid export onnx"
            )
        )
    if part.proven or part.runtime == "tensorrt":
        return ""  # TensorRT's proof lies beside the plan, and opening one without it fails
    if not part.parity:
        return f"it has no parity report; prove it with: vireid export parity {bundle.path} --engine {name}"
    failures = part.parity.get("failures") or ["the report does not say that it passed"]
    return f"it failed parity: {'; '.join(map(str, failures))}"


def open_form(bundle: Bundle, part: EnginePart | None, device: str, layout: Layout) -> Engine:
    """Open an engine for one thread; the layout concerns ONNX Runtime on a CPU."""
    if part is not None and part.runtime != "onnxruntime":
        return open_part(bundle, part, device)
    if layout == "blocked":
        return open_engine(bundle, device) if part is None else open_part(bundle, part, device)
    from vireid.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, device, layout=layout, part=part)


def _exported(bundle: Bundle) -> bool:
    """Whether the model passed when it was exported; reports were once written only where it had."""
    report = bundle.manifest.parity
    return report.get("passed", bool(report)) is True


def _named(
    bundle: Bundle,
    name: str,
    device: str,
    allow_unproven: bool,
    opener: Opener,
    clock: Callable[[], float],
) -> Choice:
    trouble = unproven(bundle, name)
    if trouble and not allow_unproven:
        raise EngineError(
            f"the engine {name} may not serve: {trouble}; or take the risk with --allow-unproven",
            reason="ENGINE_UNPROVEN",
        )
    taken, _ = _fastest(_forms(bundle, part_of(bundle, name), device, opener), clock)
    others = tuple(NotTaken(other, f"{name} was asked for") for other in names(bundle) if other != name)
    reason = "asked for by name" + (f", and not proven: {trouble}" if trouble else "")
    return Choice(name, reason, not trouble, others, taken.engine, taken.another)


def _usable(
    bundle: Bundle, device: str, allow_unproven: bool, opener: Opener
) -> tuple[list[_Form], list[NotTaken]]:
    """Open everything that is proven; say why not of the rest.

    Raises:
        EngineError, MissingExtra: nothing can serve; what stops the model itself is told.
    """
    forms: list[_Form] = []
    refused: list[NotTaken] = []
    first: VireidError | None = None
    for part in (None, *bundle.manifest.engines):
        name = SOURCE if part is None else part.name
        trouble = unproven(bundle, name)
        if trouble and not (part is None and allow_unproven):
            refused.append(NotTaken(name, trouble))
            continue
        try:
            forms += _forms(bundle, part, device, opener)
        except (EngineError, MissingExtra, BundleCorrupt) as error:
            if part is None and isinstance(error, BundleCorrupt):
                raise  # a damaged model is not to be passed over
            first = first or error
            refused.append(NotTaken(name, error.message))
    if not forms:
        raise first or _nothing(bundle, refused)
    return forms, refused


def _forms(bundle: Bundle, part: EnginePart | None, device: str, opener: Opener) -> list[_Form]:
    name, precision = (SOURCE, "fp32") if part is None else (part.name, part.precision)

    def form(layout: Layout) -> _Form:
        def another() -> Engine:
            return opener(bundle, part, device, layout)

        return _Form(name, precision, another(), another)

    first = form("blocked")
    onnx = part is None or part.runtime == "onnxruntime"
    if onnx and first.engine.info.device == "cpu" and precision == "fp32":
        return [first, form("plain")]
    return [first]


def _fastest(forms: Sequence[_Form], clock: Callable[[], float]) -> tuple[_Form, dict[str, float]]:
    """Return what is fastest here, and the seconds an image takes of each name."""
    if len(forms) == 1:
        return forms[0], {forms[0].name: 0.0}
    # layouts of one engine differ alike at every size, and a server is to start soon
    sizes = tuning.SIZES if len({form.name for form in forms}) > 1 else tuning.SIZES[:1]
    each = tuning.seconds_an_image([form.engine for form in forms], sizes, clock=clock)
    limit = min(each) / tuning.WORTH_IT
    near = [place for place, seconds in enumerate(each) if seconds <= limit]
    taken = forms[min(near, key=lambda place: (PRECISIONS.index(forms[place].precision), place))]
    seconds: dict[str, float] = {}
    for form, one in zip(forms, each, strict=True):
        seconds[form.name] = min(one, seconds.get(form.name, one))
    return taken, seconds


def _nothing(bundle: Bundle, refused: Sequence[NotTaken]) -> EngineError:
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in refused)
    return EngineError(
        f"no engine of {bundle.path} may serve: {reasons}; or take the risk with --allow-unproven",
        reason="ENGINE_UNPROVEN",
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
