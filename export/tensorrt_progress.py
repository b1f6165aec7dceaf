"""How far a TensorRT build is, out of the phases it reports. Knows no network.

A phase has steps, and any of its steps may be a phase again. How often a phase comes again is not known beforehand, so the part
that is done is an estimate; it never runs back.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Tell = Callable[[float], None]


@dataclass(slots=True)
class _Phase:
    start: float  # where it begins and how much it is, as parts of the whole
    size: float
    steps: int
    done: int = 0


class Phases:
    """Turns reports of phases into one number from 0 to 1; called from the builder's threads.

    Args:
        tell: told the part that is done, whenever it grows; what it raises ends the build.

    Attributes:
        trouble: what ``tell`` raised.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._phases: dict[str, _Phase] = {}
        self._told = 0.0
        self._lock = threading.Lock()
        self.trouble: BaseException | None = None

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Open a phase: the present step of its parent."""
        with self._lock:
            above = self._phases.get(parent) if parent else None
            if above is None:
                self._phases[name] = _Phase(0.0, 1.0, max(steps, 1))
                return
            size = above.size / above.steps
            begin = above.start + size * min(above.done, above.steps - 1)
            self._phases[name] = _Phase(begin, size, max(steps, 1))

    def step(self, name: str, step: int) -> None:
        """Note that a step of a phase is done."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is not None:
                phase.done = min(step + 1, phase.steps)
                self._grow(phase.start + phase.size * phase.done / phase.steps)

    def finish(self, name: str) -> None:
        """Close a phase."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is not None:
                self._grow(phase.start + phase.size)

    def _grow(self, done: float) -> None:
        if done > self._told and self.trouble is None:
            self._told = min(done, 1.0)
            try:
                self._tell(self._told)
            except BaseException as error:  # noqa: BLE001 - it must not run into the library; the builder raises it
                self.trouble = error


def monitor(trt: Any, phases: Phases) -> Any:
    """Make a monitor of the library's own kind, which is known at run time only.

    Args:
        trt: the module.
        phases: told what the library reports; its trouble ends the build.
    """

    def start(self: Any) -> None:
        trt.IProgressMonitor.__init__(self)

    def phase_start(_self: Any, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        phases.start(phase_name, parent_phase, num_steps)

    def phase_finish(_self: Any, phase_name: str) -> None:
        phases.finish(phase_name)

    def step_complete(_self: Any, phase_name: str, step: int) -> bool:
        phases.step(phase_name, step)
        return phases.trouble is None

    methods = {
        "__init__": start,
        "phase_start": phase_start,
        "phase_finish": phase_finish,
        "step_complete": step_complete,
    }
    return type("PhasesMonitor", (trt.IProgressMonitor,), methods)()
