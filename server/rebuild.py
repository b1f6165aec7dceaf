"""A TensorRT plan that is missing here, built beside the running server, and the switch to it.

The build is a process of its own (``vireid export tensorrt``), so that a crash or a leak in it stays outside. Meanwhile another
engine serves; a build that fails is told, and that engine stays. Knows no requests and no transport.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any, Literal

from vireid.bundle import Bundle, EnginePart
from vireid.engines import choice, remembered, tensorrt, tuning
from vireid.engines.base import Engine
from vireid.engines.choice import AUTO, Choice, NotTaken
from vireid.engines.forms import Layout, Opener, open_form
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_buckets import spelled
from vireid.engines.tensorrt_driver import Driver, open_driver
from vireid.errors import EngineError, MissingExtra, ProviderUnavailable, VireidError

RUNTIME = "tensorrt"
# reasons of a plan that building mends
MENDED = {"PLAN_MISSING", "PLAN_MISMATCH", "ENGINE_UNPROVEN"}
# of several engines whose plans are missing, which is built: the usual one first
PREFERRED = ("fp16", "bf16", "int8", "fp8", "fp32")
LIMIT_S = 3600.0
NICENESS = 10  # the build gives way to what serves
PATIENCE_S = 5.0  # for a build that is told to end
TOLD_LINES = 3

State = Literal["building_engine", "switched", "not_taken", "build_failed"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """An engine whose plan is not here.

    Attributes:
        part: the engine.
        reason: what is wrong with the plan that is here, or that there is none.
    """

    part: EnginePart
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """How a build goes.

    Attributes:
        engine: what is built.
        state: ``building_engine``, then one of the others.
        stage: of the build, ``building`` or ``proving``.
        done: part of the stage that is done, 0 to 1.
        seconds: since the build began, or that it took.
        reason: why it is built, or what came of it.
    """

    engine: str
    state: State
    stage: str
    done: float
    seconds: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        """What users are told."""
        return {
            "engine": self.engine,
            "state": self.state,
            "stage": self.stage,
            "done": round(self.done, 3),
            "seconds": round(self.seconds, 1),
            "reason": self.reason,
        }


def opener(choices: Choices) -> Opener:
    """Return what opens an engine, its plans by these choices."""

    def opened(bundle: Bundle, part: EnginePart | None, device: str, layout: Layout) -> Engine:
        if part is None or part.runtime != RUNTIME or device == "cpu":
            return open_form(bundle, part, device, layout)
        return tensorrt.open_engine(bundle, part.file, part.precision, choices)

    return opened


def missing(
    bundle: Bundle,
    wish: str,
    device: str,
    choices: Choices,
    opened: Callable[[], Driver] = open_driver,
) -> Missing | None:
    """Say which engine's plan is to be built here: none if there is no GPU or no TensorRT, or a plan that serves.

    Args:
        bundle: whose engines.
        wish: ``auto``, or the engine asked for.
        device: ``auto``, ``cpu`` or ``cuda``.
        choices: where plans are.
        opened: opens the driver.
    """
    parts = [
        part for part in bundle.manifest.engines if part.runtime == RUNTIME and wish in {AUTO, part.name}
    ]
    if not parts or device == "cpu":
        return None
    found = []
    try:
        driver = opened()
        for part in sorted(parts, key=lambda one: PREFERRED.index(one.precision)):
            try:
                tensorrt.find(bundle, part.file, part.precision, choices, driver)
            except EngineError as error:
                if error.stable_reason not in MENDED:
                    raise
                found.append(Missing(part, error.message))
            else:
                return None
    except (EngineError, MissingExtra, ProviderUnavailable):
        return None  # no build would help; the choice of an engine tells why
    return found[0]


def choose(bundle: Bundle, wish: str, device: str, choices: Choices, lacking: Missing | None) -> Choice:
    """Choose the engine that serves at first; where a plan is missing, one that stands in for it.

    Raises:
        EngineError, MissingExtra, BundleError: as for ``vireid.engines.choice.choose``.
    """
    named = lacking is not None and wish == lacking.part.name
    asked = lacking is None and wish in {
        part.name for part in bundle.manifest.engines if part.runtime == RUNTIME
    }

    # what was asked for runs on CUDA; until it does, and that is told, the CPU is better than nothing
    wanted = "auto" if named else device
    words = (wanted, choices.flavour, str(choices.allow_unproven))
    memory = remembered.memory(bundle, choices.folder, *words) if bundle.manifest.engines else None

    def found_by(leave: bool) -> Choice:
        return choice.choose(
            bundle,
            AUTO if named else wish,
            wanted,
            allow_unproven=choices.allow_unproven,
            opener=opener(replace(choices, allow_unproven=leave)),
            memory=memory,
        )

    try:
        found = found_by(False)
    except EngineError as error:
        # only a plan that is asked for by name may go unproven, and that is told
        if not (asked and choices.allow_unproven and error.stable_reason == tensorrt.UNPROVEN):
            raise
        return replace(
            found_by(True), proven=False, reason=f"asked for by name, and not proven: {error.message}"
        )
    if lacking is None:
        return found
    return replace(found, reason=f"until the plan of {lacking.part.name} is built here: {found.reason}")


def slower(engine: Engine, now: Choice) -> str:
    """Say that an engine is slower than the one that serves; nothing if it is not."""
    serving, other = tuning.seconds_an_image([now.engine, engine])
    if other <= serving:
        return ""
    return f"{1e3 * other:.3g} ms an image here; {now.name} takes {1e3 * serving:.3g} ms"


def successor(now: Choice, name: str, engine: Engine) -> Choice:
    """Return the choice of an engine that takes the place of another, proven as far as what stood in is.

    A plan is proven against its model, which says nothing where that is not proven itself.
    """
    others = tuple(one for one in now.not_taken if one.name != name)
    former = NotTaken(now.name, f"stood in until the plan of {name} was built")
    return Choice(
        name, "its plan was built and proven here", now.proven, (former, *others), engine, lambda: engine
    )


def command(bundle: Bundle, part: EnginePart, choices: Choices) -> list[str]:
    """Return the command that builds and proves a plan and leaves the bundle as it is."""
    words = [sys.executable, "-c", "from vireid.command import main; main()"]
    words += ["export", "tensorrt", str(bundle.path), "--precision", part.precision]
    words += ["--plan-only", "--progress-lines"]
    words += ["--cache", str(choices.folder), "--flavour", choices.flavour]
    return [*words, "--buckets", spelled(choices.buckets)]


class Rebuild:
    """Builds a plan in a process of its own, opens it, and hands it over.

    Args:
        lacking: what is built, and why.
        command: builds it; tells its progress as JSON lines, and ends with status 0 once the plan is kept.
        opened: opens the engine once its plan is there.
        limit_s: the longest a build may take.
    """

    def __init__(
        self,
        lacking: Missing,
        command: Sequence[str],
        opened: Callable[[], Engine],
        *,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._command, self._opened, self._limit_s = command, opened, limit_s
        self._began = time.monotonic()
        self._told = Told(lacking.part.name, "building_engine", "building", 0.0, 0.0, lacking.reason)
        self._child: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def told(self) -> Told:
        """How it goes."""
        return self._told

    def start(self, take: Callable[[Engine], str]) -> None:
        """Begin, in a thread.

        Args:
            take: given the engine, on that thread; says why it does not serve, or nothing if it does.
        """
        self._began = time.monotonic()
        log.info("engine %s is built beside the server: %s", self._told.engine, self._told.reason)
        self._thread = threading.Thread(target=self._run, args=(take,), name="rebuild", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the build, if it still runs."""
        self._stopped.set()
        self._end_child()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)  # it may be trying the new engine, which nothing waits for any more

    def _run(self, take: Callable[[Engine], str]) -> None:
        try:
            self._build()
            if self._stopped.is_set():
                return
            engine = self._opened()
            if self._stopped.is_set():
                return
            against = take(engine)
        except VireidError as error:
            self._tell("build_failed", error.message)
            return
        except OSError as error:
            self._tell("build_failed", f"the build cannot be started ({error})")
            return
        except Exception as error:  # noqa: BLE001 - what serves goes on serving, whatever a library raises
            self._tell("build_failed", f"{type(error).__name__}: {error}")
            return
        self._tell("not_taken" if against else "switched", against or "its plan was built and proven here")

    def _build(self) -> None:
        """Run the command to its end.

        Raises:
            EngineError: it failed; its last words are told.
            OSError: it cannot be started.
        """
        with tempfile.TemporaryFile("w+", errors="replace") as words:
            with self._lock:
                if self._stopped.is_set():
                    return
                self._child = subprocess.Popen(  # noqa: S603 - our own command, no shell
                    list(self._command),
                    stdout=subprocess.PIPE,
                    stderr=words,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            with suppress(OSError):  # it may have ended already
                os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)
            late = threading.Timer(self._limit_s, self._end_child)
            late.start()
            try:
                self._follow(self._child)
                status = self._child.wait()
            finally:
                late.cancel()
                self._end_child()
            if status and not self._stopped.is_set():
                raise EngineError(_last_words(words, status, time.monotonic() - self._began, self._limit_s))

    def _follow(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                try:
                    found = json.loads(line)
                    stage, done = str(found["stage"]), float(found["done"])
                except (ValueError, TypeError, KeyError):
                    continue  # words for people
                self._tell("building_engine", self._told.reason, stage, done)

    def _tell(self, state: State, reason: str, stage: str | None = None, done: float | None = None) -> None:
        seconds = time.monotonic() - self._began
        now = self._told
        self._told = Told(
            now.engine,
            state,
            now.stage if stage is None else stage,
            now.done if done is None else done,
            seconds,
            reason,
        )
        if state != "building_engine":
            level = logging.WARNING if state == "build_failed" else logging.INFO
            log.log(level, "engine %s: %s after %.0f s: %s", now.engine, state, seconds, reason)

    def _end_child(self) -> None:
        with self._lock:
            child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _last_words(words: IO[str], status: int, seconds: float, limit_s: float) -> str:
    """Say why a build failed, in its own last words."""
    if seconds >= limit_s:
        return f"the build was ended after {limit_s:.0f} s"
    words.seek(0)
    lines = [line.strip() for line in words.read()[-4000:].splitlines() if line.strip()]
    said = " ".join(lines[-TOLD_LINES:]) or "it said nothing"
    how = f"status {status}" if status > 0 else f"signal {-status}"
    return f"the build ended with {how}: {said}"
