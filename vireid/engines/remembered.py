"""Which engine was the fastest when it was last tried, kept on disk for the same bundle, runtimes and machine.

What is remembered only saves time: it names an engine of the bundle, which must be proven all the same, and if it cannot be read,
or anything it depended on has changed, engines are tried anew. Knows no runtime.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vireid.bundle import Bundle
from vireid.engines import plan_files
from vireid.engines.forms import Layout
from vireid.engines.tensorrt_driver import open_driver
from vireid.errors import VireidError

# raised when engines are tried or chosen in another way than before
RECIPE = 1
CPU_WORDS = Path("/proc/cpuinfo")
CPU_FIELDS = {"model name", "flags", "Features", "CPU implementer", "CPU part"}
# what may come with another version and then be faster or slower, or be there at all
PACKAGES = (
    "vireid",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx-cu13",
)

log = logging.getLogger(__name__)


class Remembered(BaseModel):
    """What was found out.

    Attributes:
        name: of the fastest engine.
        layout: in which its maps lie.
        seconds: that one image takes, by engine.
        refused: why each other engine cannot serve here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layout: Layout
    seconds: Mapping[str, float]
    refused: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """Where it is kept.

    Args:
        folder: made when something is kept.
        circumstances: in words, what the finding depends on.
        gpu: whether the machine has one.
    """

    folder: Path
    circumstances: str
    gpu: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"fastest-{hashlib.sha256(self.circumstances.encode()).hexdigest()[:24]}"

    def recall(self) -> Remembered | None:
        """Return what was found out in the same circumstances; None if nothing was."""
        try:
            return Remembered.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError) as error:
            log.warning("%s is not heeded (%s)", self.path, str(error).splitlines()[0])
            return None

    def keep(self, found: Remembered) -> None:
        """Keep what was found out; where that cannot be done, the next start tries engines again."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            plan_files.write(self.path, found.model_dump_json().encode())
        except OSError as error:
            log.warning("which engine is the fastest cannot be kept in %s (%s)", self.folder, error.strerror)


def memory(bundle: Bundle, folder: Path, *words: str) -> Memory:
    """Return where what is found out here and now of a bundle's engines is kept.

    Args:
        bundle: whose engines.
        folder: where plans are kept, too: an engine may be there by now whose plan was not.
        words: what else decides, such as the engine and the device that are asked for.
    """
    card = _gpu()
    told = {
        "recipe": RECIPE,
        "bundle": hashlib.sha256(bundle.manifest.model_dump_json().encode()).hexdigest(),
        "packages": {name: _version(name) for name in PACKAGES},
        "gpu": card,
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(CPU_WORDS),
        "plans": sorted(_plans(folder))
        if any(p.runtime == "tensorrt" for p in bundle.manifest.engines)
        else [],
        "words": words,
    }
    return Memory(folder, json.dumps(told, sort_keys=True), bool(card))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _plans(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.json"):
        with suppress(OSError):  # what cannot be read, or is gone by now, is opened by nobody
            yield f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _gpu() -> str:
    try:
        gpu = open_driver().gpu
    except VireidError:
        return ""
    return f"{gpu.name} {gpu.sm} {gpu.cuda}"


def _processor(words: Path) -> str:
    """Return a short name of the first processor and what it can do; empty where the system does not say."""
    try:
        first = words.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return ""
    said = [line for line in first.splitlines() if line.partition(":")[0].strip() in CPU_FIELDS]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:24]
