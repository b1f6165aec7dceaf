"""Which of a bundle's engines serves: one asked for by name, or the fastest that runs here and was proven.

Every engine that is not taken comes with its reason. Knows no runtime and no server.
"""

import difflib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vireid.bundle import SOURCE, Bundle, EnginePart
from vireid.engines import forms, open_engine, open_part
from vireid.engines.base import Engine
from vireid.engines.forms import Fastest, Form, Opener
from vireid.engines.remembered import Memory, Remembered
from vireid.errors import BundleCorrupt, EngineError, MissingExtra, VireidError

AUTO = "auto"

log = logging.getLogger(__name__)


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
        """Return engines for so many threads that embed side by side: one each on a CPU, the same for all on a GPU.

        A GPU is filled by one engine, which several threads may call; while it computes, others decode the next images.
        """
        if self.engine.info.device != "cpu":
            return [self.engine] * count
        with ThreadPoolExecutor(
            count
        ) as pool:  # a runtime may compile for seconds, each on a core of its own
            return [self.engine, *pool.map(lambda _: self.another(), range(count - 1))]

    def as_json(self) -> dict[str, Any]:
        """What users are told of it."""
        return {
            "name": self.name,
            "reason": self.reason,
            "proven": self.proven,
            "not_taken": [{"name": other.name, "reason": other.reason} for other in self.not_taken],
        }


def choose(  # noqa: PLR0913 - what is asked for, and what a test or a server puts in
    bundle: Bundle,
    wish: str = AUTO,
    device: str = "auto",
    *,
    allow_unproven: bool = False,
    opener: Opener = forms.open_form,
    clock: Callable[[], float] = time.perf_counter,
    memory: Memory | None = None,
) -> Choice:
    """Choose and open the engine that serves a bundle.

    ``auto`` tries what is proven and runs here in turns, for seconds, and takes the fastest; of equals the most precise.
    It never takes a further engine that is not proven; such a one must be asked for by name.

    Args:
        bundle: whose engines.
        wish: ``auto``, or a name such as ``onnxruntime-int8``.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` never falls back silently.
        allow_unproven: take what is asked for though it has no passing parity report.
        opener: opens a form.
        clock: seconds that never run back.
        memory: where the fastest is looked up, and kept once it was found; it is found anew each time if None.

    Raises:
        EngineError: no engine of that name, one that may not serve (``ENGINE_UNPROVEN``), or none that can.
        ProviderUnavailable: the asked-for device is not there.
        MissingExtra: the runtime asked for is not installed.
        BundleError: a graph is not what the manifest promises.
    """
    trouble = "" if wish == AUTO else unproven(bundle, wish)
    if trouble and not allow_unproven:
        raise EngineError(
            f"the engine {wish} may not serve: {trouble}; or take the risk with --allow-unproven",
            reason="ENGINE_UNPROVEN",
        )
    if wish != AUTO:
        taken = forms.fastest(forms.forms(bundle, part_of(bundle, wish), device, opener), clock).form
        others = tuple(NotTaken(other, f"{wish} was asked for") for other in names(bundle) if other != wish)
        reason = "asked for by name" + (f", and not proven: {trouble}" if trouble else "")
        return Choice(wish, reason, not trouble, others, taken.engine, taken.another)
    if recalled := _recalled(bundle, device, allow_unproven, opener, memory):
        return recalled
    opened, refused = _usable(bundle, device, allow_unproven, opener)
    found = forms.fastest(opened, clock)
    refused += [NotTaken(name, reason) for name, reason in found.failed.items()]
    if memory is not None and _lasts(found, device, memory):
        memory.keep(_worth_keeping(found, refused))
    return _chosen(bundle, found, refused)


def _chosen(bundle: Bundle, found: Fastest, refused: Sequence[NotTaken], when: str = "") -> Choice:
    """Return the fastest with the reason why it was taken, and why none of the others was."""
    taken, (reason, slower) = found.form, _why(bundle, found)
    order = names(bundle)
    others = tuple(sorted((*slower, *refused), key=lambda one: order.index(one.name)))
    return Choice(
        taken.name, reason + when, unproven(bundle, taken.name) == "", others, taken.engine, taken.another
    )


def _why(bundle: Bundle, found: Fastest) -> tuple[str, list[NotTaken]]:
    """Say why an engine was taken, and why not those that run here too."""
    taken, seconds = found.form.name, found.seconds
    slower = [
        NotTaken(name, f"{_ms(each)} an image here; {taken} takes {_ms(seconds[taken])}")
        for name, each in seconds.items()
        if name != taken
    ]
    if slower:
        words = f"the fastest of {len(seconds)} that are proven and run here: {_ms(seconds[taken])} an image"
    elif bundle.manifest.engines:
        words = "the only engine that is proven and runs here"
    else:
        words = "the only engine"
    return words, slower


def _recalled(
    bundle: Bundle, device: str, allow_unproven: bool, opener: Opener, memory: Memory | None
) -> Choice | None:
    """Open what was the fastest when engines were last tried; None where it may not serve any more, or cannot."""
    known = None if memory is None else memory.recall()
    if known is None or known.name not in known.seconds:
        return None
    if set(names(bundle)) != {*known.seconds, *known.refused}:
        return None
    if unproven(bundle, known.name) and not (allow_unproven and known.name == SOURCE):
        return None
    try:
        form = forms.form(bundle, part_of(bundle, known.name), device, known.layout, opener)
    except (EngineError, MissingExtra, BundleCorrupt) as error:
        log.info(
            "engine %s was the fastest and does not open; all are tried anew: %s", known.name, error.message
        )
        return None
    refused = [NotTaken(name, reason) for name, reason in known.refused.items()]
    return _chosen(bundle, Fastest(form, known.seconds, True), refused, ", when they were last tried")


def _lasts(found: Fastest, device: str, memory: Memory) -> bool:
    """Whether the next start would find the same, and finding it takes time."""
    # what a GPU lacks to be used may be installed, and nothing else tells of that
    used = device == "cpu" or not memory.gpu or found.form.engine.info.device != "cpu"
    # and what failed may have lacked memory at that moment only
    return found.settled and not found.failed and len(found.seconds) > 1 and used


def _worth_keeping(found: Fastest, refused: Sequence[NotTaken]) -> Remembered:
    return Remembered(
        name=found.form.name,
        layout=found.form.layout,
        seconds=found.seconds,
        refused={one.name: one.reason for one in refused},
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
    if not _exported(bundle):  # and what comes near a model of unknown origin is no better
        return (
            "the bundle does not say that its model was held against the network it was exported from; "
            "export it again with: vireid export onnx"
        )
    if part is None or part.proven or part.runtime == "tensorrt":
        return ""  # TensorRT's proof lies beside the plan, and opening one without it fails
    if not part.parity:
        return f"it has no parity report; prove it with: vireid export parity {bundle.path} --engine {name}"
    failures = part.parity.get("failures") or ["the report does not say that it passed"]
    return f"it failed parity: {'; '.join(map(str, failures))}"


def _exported(bundle: Bundle) -> bool:
    """Whether the model passed when it was exported; reports were once written only where it had."""
    report = bundle.manifest.parity
    return report.get("passed", bool(report)) is True


def _usable(
    bundle: Bundle, device: str, allow_unproven: bool, opener: Opener
) -> tuple[list[Form], list[NotTaken]]:
    """Open everything that is proven; say why not of the rest.

    Raises:
        EngineError, MissingExtra: nothing can serve; what stops the model itself is told.
    """
    opened: list[Form] = []
    refused: list[NotTaken] = []
    first: VireidError | None = None
    for part in (None, *bundle.manifest.engines):
        name = SOURCE if part is None else part.name
        trouble = unproven(bundle, name)
        if trouble and not (part is None and allow_unproven):
            refused.append(NotTaken(name, trouble))
            continue
        try:
            opened += forms.forms(bundle, part, device, opener)
        except (EngineError, MissingExtra, BundleCorrupt) as error:
            if part is None and isinstance(error, BundleCorrupt):
                raise  # a damaged model is not to be passed over
            first = first or error
            refused.append(NotTaken(name, error.message))
    if not opened:
        raise first or _nothing(bundle, refused)
    return opened, refused


def _nothing(bundle: Bundle, refused: Sequence[NotTaken]) -> EngineError:
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in refused)
    return EngineError(
        f"no engine of {bundle.path} may serve: {reasons}; or take the risk with --allow-unproven",
        reason="ENGINE_UNPROVEN",
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
