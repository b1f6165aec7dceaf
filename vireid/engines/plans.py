"""Built plans on disk: each beside a sidecar that says what it was built for and what was proven of it.

A plan is executable code for one GPU and one version of TensorRT. The sidecar is read and compared first; a plan that is not
exactly what is asked for, was changed since, or could have been put there by somebody else is never handed out. The sidecar is
written last and names the plan by its content, so that a full disk or a killed process leaves nothing that is picked up.
Knows no TensorRT.
"""

import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vireid.engines import plan_files
from vireid.engines.tensorrt_buckets import Bucket
from vireid.errors import EngineError, StorageError

FORMAT = 1
PLAN, PAGE = "plan", "parity.html"
# raised when the same graph and settings give another plan than before
RECIPE = 1
MISSING, MISMATCH = "PLAN_MISSING", "PLAN_MISMATCH"
ANY_GPU, ANY_SM = "", "any"
# what whoever builds a plan chooses, and whoever opens it need not repeat
CHOICES = {"buckets", "flags"}

log = logging.getLogger(__name__)


class Purpose(BaseModel):
    """What a plan is for; two plans are exchangeable if all of it is equal.

    Attributes:
        graph: sha256 of the ONNX file in the bundle.
        module: ``tensorrt`` or ``tensorrt_rtx``.
        version: of the module.
        gpu: the GPU's name; empty for a plan built ahead of time.
        sm: its compute capability; for a plan built ahead of time those it was built for, or ``any``.
        precision: what most of its arithmetic is done in.
        buckets: (least, usual, most) of each profile.
        flags: the builder's settings that are not its defaults.
        recipe: the version of how plans are built here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: str
    module: str
    version: str
    gpu: str
    sm: str
    precision: str
    buckets: tuple[tuple[int, int, int], ...]
    flags: tuple[str, ...] = ()
    recipe: int = RECIPE

    @property
    def key(self) -> str:
        """A short name of all of it."""
        words = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return f"{self.precision}-{hashlib.sha256(words.encode()).hexdigest()[:24]}"

    @property
    def profiles(self) -> tuple[Bucket, ...]:
        """The buckets as such."""
        return tuple(Bucket(*sizes) for sizes in self.buckets)

    def differences(self, other: "Purpose") -> dict[str, tuple[Any, Any]]:
        """Name what differs: its values here and there."""
        mine, theirs = self.model_dump(), other.model_dump()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


class Sidecar(BaseModel):
    """What is told of a plan.

    Attributes:
        format: of this file.
        purpose: what the plan is for.
        file: the plan's name beside the sidecar.
        plan: sha256 of the plan.
        parsed: sha256 of the graph that TensorRT was given.
        cuda: the CUDA version of the driver it was built with; empty for none.
        built_s: seconds the build took.
        vireid: our version.
        parity: the report against the model, made on the machine where the plan was built; empty if nothing was proven.
        page: the report as a page, beside the sidecar; empty if none was made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format: int = FORMAT
    purpose: Purpose
    file: str
    plan: str
    parsed: str
    cuda: str = ""
    built_s: float = Field(ge=0)
    vireid: str
    parity: Mapping[str, Any] = Field(default_factory=dict)
    page: str = ""

    @property
    def proven(self) -> bool:
        """Whether it was held against the model and passed."""
        return self.parity.get("passed") is True


@dataclass(frozen=True, slots=True)
class Found:
    """A plan that is what was asked for."""

    sidecar: Sidecar
    plan: bytes


def default_folder() -> Path:
    """Return the folder where plans are kept unless another is named."""
    return Path.home() / ".cache" / "vireid" / "engines"


class PlanStore:
    """The plans of one folder.

    Args:
        folder: made when something is kept; only its owner may write there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the plans are."""
        return self._folder

    def sidecar(self, *purposes: Purpose) -> Sidecar:
        """Find what is told of a plan, without touching the plan.

        Args:
            purposes: the first that is there is taken; else one that was built with other buckets or flags.

        Raises:
            EngineError: there is none (PLAN_MISSING), or only one that does not fit (PLAN_MISMATCH), naming what differs.
        """
        for purpose in purposes:
            path = self._folder / f"{purpose.key}.json"
            if self._is_there(path):
                found = self._read(path)
                if differences := purpose.differences(found.purpose):
                    raise _mismatch(path, differences)
                return found
        for purpose in purposes:
            for path, other in self._others():
                if set(purpose.differences(other.purpose)) <= CHOICES:
                    return self._read(path)
        raise self._absent(purposes)

    def find(self, *purposes: Purpose) -> Found:
        """Find a plan; its bytes are checked against the sidecar.

        Raises:
            EngineError: as for ``sidecar``, or the plan was changed since it was built.
        """
        sidecar = self.sidecar(*purposes)
        try:
            return self._opened(sidecar)
        except EngineError:
            newer = self.sidecar(*purposes)
            if newer.file == sidecar.file:
                raise
            return self._opened(newer)  # another process replaced it meanwhile

    def _opened(self, sidecar: Sidecar) -> Found:
        path = self._folder / sidecar.file
        _check_owner(path, self._folder)
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise EngineError(
                f"the plan {path} cannot be read ({error.strerror}); build it again", reason=MISMATCH
            ) from None
        found = hashlib.sha256(plan).hexdigest()
        if found != sidecar.plan:
            raise EngineError(
                f"the plan {path} was changed since it was built (sha256 {found[:12]}..., expected "
                f"{sidecar.plan[:12]}...); it is not opened: build it again",
                reason=MISMATCH,
                metadata={"differs": "plan"},
            )
        return Found(sidecar, plan)

    def make_ready(self) -> None:
        """Make the folder if there is none, and see that plans can be kept there and opened again.

        Raises:
            StorageError: the disk is full or refuses.
            EngineError: others may write there (PLAN_UNTRUSTED).
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self._folder).close()
        except OSError as error:
            raise self._refused(error) from error
        _check_owner(self._folder)

    @contextmanager
    def building(self, purpose: Purpose) -> Iterator[None]:
        """Hold the build of a plan: who wants the same one waits here, and then finds it; given up even by kill -9.

        Raises:
            StorageError, EngineError: as for ``make_ready``.
        """
        self.make_ready()
        lock = self._folder / f".{purpose.key}.lock"
        try:
            lock.touch(0o600)
        except OSError as error:
            raise self._refused(error) from error
        told = f"another process builds this {purpose.precision} plan in {self._folder}; waiting for it"
        # the file stays: without it two who came one after the other would hold two
        with plan_files.alone(lock, lambda: log.warning(told)):
            yield

    def keep(self, sidecar: Sidecar, plan: bytes, page: bytes = b"") -> Path:
        """Keep a plan durably; another for the same purpose is replaced, and stays if this fails.

        Args:
            sidecar: what is told of it.
            plan: as the library built it.
            page: its report, to look at; none if empty.

        Returns:
            Where the sidecar is.

        Raises:
            StorageError: the disk is full or refuses.
        """
        sidecar = sealed(sidecar, plan, page)
        key = sidecar.purpose.key
        text = json.dumps(sidecar.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False) + "\n"
        path = self._folder / f"{key}.json"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # else one process would remove the plan of another that has yet to write its sidecar
            with plan_files.alone(self._folder):
                plan_files.sweep(self._folder)
                plan_files.write(self._folder / sidecar.file, plan)
                if page:
                    plan_files.write(self._folder / sidecar.page, page)
                plan_files.write(path, text.encode())
                for kind, kept in ((PLAN, sidecar.file), (PAGE, sidecar.page)):
                    for old in self._folder.glob(f"{key}.*.{kind}"):
                        if old.name != kept:
                            old.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        return path

    def page(self, sidecar: Sidecar) -> bytes:
        """Return the page of a plan's report; empty if there is none."""
        path = self._folder / sidecar.page
        return path.read_bytes() if sidecar.page and path.is_file() else b""

    def timings(self, purpose: Purpose) -> bytes:
        """Return what kernels took in earlier builds by the same library on the same GPU; empty if there is nothing."""
        path = self._timings(purpose)
        if not self._is_there(path):
            return b""
        _check_owner(path, self._folder)
        return path.read_bytes()

    def keep_timings(self, purpose: Purpose, timings: bytes) -> None:
        """Keep what kernels took.

        Raises:
            StorageError: the disk is full or refuses.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            plan_files.write(self._timings(purpose), timings)
        except OSError as error:
            raise self._refused(error) from error

    def _is_there(self, path: Path) -> bool:
        try:
            return path.exists()
        except OSError as error:
            raise EngineError(
                f"{self._folder} cannot be looked into ({error.strerror}); keep plans in a folder of your own",
                reason="PLAN_UNTRUSTED",
            ) from None

    def _refused(self, error: OSError) -> StorageError:
        return StorageError(
            f"plans cannot be kept in {self._folder} ({error.strerror}); make room or name another folder"
        )

    def _timings(self, purpose: Purpose) -> Path:
        words = f"{purpose.module} {purpose.version} {purpose.gpu} {purpose.sm}"
        return self._folder / f"timings-{hashlib.sha256(words.encode()).hexdigest()[:24]}"

    def _read(self, path: Path) -> Sidecar:
        _check_owner(path, self._folder)
        try:
            return Sidecar.model_validate_json(path.read_bytes())
        except (OSError, ValidationError, ValueError) as error:
            raise EngineError(
                f"{path} is no sidecar of ours ({str(error).splitlines()[0]}); build the plan again",
                reason=MISMATCH,
            ) from None

    def _others(self) -> Iterator[tuple[Path, Sidecar]]:
        """Yield the sidecars that can be read, by name."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError):  # what is no sidecar of ours says nothing of a plan
                yield path, Sidecar.model_validate_json(path.read_bytes())

    def _absent(self, purposes: tuple[Purpose, ...]) -> EngineError:
        """Say why there is no plan: none of this graph, or one for another machine, of which the nearest is told."""
        near = [
            differences
            for _, other in self._others()
            for purpose in purposes
            if not {"graph", "precision"} & set(differences := purpose.differences(other.purpose))
        ]
        if near:
            return _mismatch(self._folder, min(near, key=len))
        return EngineError(
            f"{self._folder} holds no {purposes[0].precision} plan of this graph; build one with 'vireid export tensorrt'",
            reason=MISSING,
        )


def sealed(sidecar: Sidecar, plan: bytes, page: bytes = b"") -> Sidecar:
    """Return a sidecar that names a plan, and the page of its report if there is one, by their content."""
    key, digest = sidecar.purpose.key, hashlib.sha256(plan).hexdigest()
    shown = f"{key}.{hashlib.sha256(page).hexdigest()[:16]}.{PAGE}" if page else ""
    return sidecar.model_copy(update={"plan": digest, "file": f"{key}.{digest[:16]}.{PLAN}", "page": shown})


def _mismatch(where: Path, differences: Mapping[str, tuple[Any, Any]]) -> EngineError:
    words = "; ".join(
        f"{name} {found!r}, expected {wanted!r}" for name, (wanted, found) in differences.items()
    )
    return EngineError(
        f"the plan in {where} was built for something else ({words}); build it here with 'vireid export tensorrt'",
        reason=MISMATCH,
        metadata={"differs": ",".join(differences)},
    )


def _check_owner(*places: Path) -> None:
    """Refuse what somebody else could have written: a plan is executable code.

    Raises:
        EngineError: a file or folder belongs to another user, or anybody may write there.
    """
    for place in places:
        try:
            found = place.stat()
        except OSError as error:
            raise EngineError(
                f"{place} cannot be read ({error.strerror}); build the plan again", reason=MISMATCH
            ) from None
        if found.st_uid not in {0, os.geteuid()} or found.st_mode & stat.S_IWOTH:
            raise EngineError(
                f"{place} may be written by others, and a plan is executable code; keep plans in a folder of your own "
                f"(chmod o-w, chown)",
                reason="PLAN_UNTRUSTED",
            )
