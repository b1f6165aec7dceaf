"""TensorRT as a module handle: ``tensorrt`` 11 or ``tensorrt_rtx``, which share one interface, and what they log.

TensorRT raises next to nothing: a failure is None, False or -1 and a line in its log. The log is therefore kept, and its words
become part of our errors. Knows no plans and no device.
"""

import importlib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from vireid.engines.tensorrt_api import Builder, OnnxParser, Runtime
from vireid.errors import MissingExtra, ProviderUnavailable, SettingsError

# module -> the extra that installs it; the first that can be imported is taken where none is named
EXTRAS: Mapping[str, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
AUTO = "auto"
OLDEST = {"tensorrt": 11, "tensorrt_rtx": 1}
KEPT = 200  # lines of the library's log
TOLD = 4  # lines of it in one error
WARNING = 2  # of ILogger.Severity: INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE
# what is logged beside every other error where there is no GPU, and explains nothing
NOISE = ("catchCudaError", "Begin node", "End node", "ScopedCudaStream")

log = logging.getLogger(__name__)


class Journal:
    """What the library said while it worked."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEPT)

    def note(self, severity: int, line: str) -> None:
        """Keep a line of the library's log; called from the library's threads."""
        if severity <= WARNING:
            self._lines.append((severity, " ".join(line.split())))
        log.debug("%s", line)

    def complaint(self, otherwise: str = "it says nothing of why") -> str:
        """Return the errors said since the last call in the library's words, or ``otherwise``; forget all that was said."""
        errors = [line for severity, line in self._lines if severity < WARNING]
        self._lines.clear()
        telling = [line for line in errors if not any(word in line for word in NOISE)] or errors
        return "; ".join(dict.fromkeys(telling[:TOLD])) or otherwise


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two modules, imported.

    Attributes:
        name: ``tensorrt`` or ``tensorrt_rtx``.
        version: of the module.
        handle: the module.
        logger: the library's logger that keeps what is said; it must live as long as what it is given to.
        journal: what was said.
    """

    name: str
    version: str
    handle: Any
    logger: Any
    journal: Journal

    @property
    def builds_ahead(self) -> bool:
        """Whether plans can be built where there is no GPU, for GPUs named by their compute capability."""
        return self.name == "tensorrt_rtx"

    def builder(self) -> Builder:
        """Make a builder.

        Raises:
            ProviderUnavailable: there is none without a GPU.
        """
        try:
            return cast("Builder", self.handle.Builder(self.logger))
        except TypeError as error:  # how the bindings tell that the library returned nothing
            raise ProviderUnavailable(
                f"{self.name} {self.version} makes no builder ({self.journal.complaint(str(error))}); it builds on a GPU only"
            ) from None

    def parser(self, network: Any) -> OnnxParser:
        """Make a parser that fills a network."""
        return cast("OnnxParser", self.handle.OnnxParser(network, self.logger))

    def runtime(self) -> Runtime:
        """Make a runtime; without a driver its methods end the process, so ask for the driver first.

        Raises:
            ProviderUnavailable: there is none.
        """
        try:
            return cast("Runtime", self.handle.Runtime(self.logger))
        except TypeError as error:
            raise ProviderUnavailable(
                f"{self.name} {self.version} makes no runtime ({self.journal.complaint(str(error))})"
            ) from None


def load(flavour: str = AUTO) -> Library:
    """Import TensorRT.

    Args:
        flavour: ``tensorrt``, ``tensorrt_rtx``, or ``auto``: the first that is installed.

    Raises:
        MissingExtra: it is not installed, or cannot be loaded.
        ProviderUnavailable: it is too old.
        SettingsError: there is no such flavour.
    """
    if flavour != AUTO and flavour not in EXTRAS:
        raise SettingsError(f"found the TensorRT flavour {flavour!r}; expected {AUTO}, {' or '.join(EXTRAS)}")
    troubles = []
    for name in EXTRAS if flavour == AUTO else (flavour,):
        try:
            handle = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            troubles.append(f"{name}: {error}")
            continue
        return known(name, handle)
    wanted = " or ".join(f"vireid[{EXTRAS[name]}]" for name in ((flavour,) if flavour != AUTO else EXTRAS))
    raise MissingExtra(f"TensorRT cannot be imported ({'; '.join(troubles)}); install {wanted}")


def known(name: str, handle: Any) -> Library:
    """Take a module that is imported.

    Raises:
        ProviderUnavailable: it is too old.
    """
    version = str(handle.__version__)
    if int(version.split(".")[0]) < OLDEST[name]:
        raise ProviderUnavailable(
            f"found {name} {version}; version {OLDEST[name]} or newer is expected: upgrade vireid[{EXTRAS[name]}]"
        )
    journal = Journal()
    return Library(name, version, handle, _logger(handle, journal), journal)


def _logger(handle: Any, journal: Journal) -> Any:
    """Make a logger of the library's own kind, which is known at run time only."""

    def start(self: Any) -> None:
        handle.ILogger.__init__(self)

    def keep(_self: Any, severity: Any, line: str) -> None:
        journal.note(int(severity), line)

    return type("KeepingLogger", (handle.ILogger,), {"__init__": start, "log": keep})()
