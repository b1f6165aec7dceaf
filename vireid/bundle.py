"""The bundle: weights, how to prepare images for them, and where they come from. All that crosses training -> export -> server.

A folder or a .zip holding ``bundle.json`` and the files it lists with their sha256; ``bundle.json`` carries a seal of its own.
Written atomically, and the same content gives the same bytes (for a .zip: with the same zlib). Knows no runtime.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from vireid import bundle_files
from vireid.bundle_files import MANIFEST
from vireid.calibration import Calibration
from vireid.errors import BundleCorrupt, BundleError, BundleMissing, BundleUnsupported
from vireid.images.preprocess import Preprocess

FORMAT = 1
DEFAULT = "default"  # as users name the bundle that comes with vireid
# the name of the engine that every bundle has: its own file, as it was exported and proven
SOURCE = "onnxruntime-fp32"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    # NaN stays NaN, so that writing it fails instead of losing it
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class ModelPart(_Part):
    """The network's file and shape."""

    file: str = "model.onnx"
    opset: int = Field(ge=1)
    precision: str = "fp32"
    dim: int = Field(ge=1)


class PreprocessPart(_Part):
    """How images become the network's input; mean and std are applied inside the graph."""

    height: int = Field(ge=8, le=2048)
    width: int = Field(ge=8, le=2048)
    channels: Literal["RGB"] = "RGB"
    resize: Literal["stretch"] = "stretch"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Positive, Positive, Positive]


class EnginePart(_Part):
    """Another form of the model in the same embedding space: a runtime, a precision, and what was proven of the two.

    Attributes:
        runtime: what runs it; ``tensorrt`` also stands for TensorRT-RTX.
        precision: what most of its arithmetic is done in.
        file: the ONNX graph it is opened from, one of the bundle's files; several engines may share one.
        fp32_until: the map of the graph up to which all is calculated in fp32; empty for none. OpenVINO's bf16 knows it; to
            others a graph says itself where it is fp32.
        parity: the report against the model itself, with ``passed``; empty if nothing was proven yet.
        report: the page that shows it, one of the bundle's files; empty if there is none.
    """

    runtime: Literal["onnxruntime", "openvino", "tensorrt"]
    precision: Literal["fp32", "fp16", "bf16", "int8", "fp8"]
    file: str
    fp32_until: str = ""
    parity: Mapping[str, Any] = Field(default_factory=dict)
    report: str = ""

    @model_validator(mode="after")
    def _until_is_for_one_engine(self) -> Self:
        if self.fp32_until and self.name != "openvino-bf16":
            raise ValueError(f"{self.name} begins in fp32 until {self.fp32_until!r}; only openvino-bf16 can")
        return self

    @model_serializer(mode="wrap")
    def _words(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        words: dict[str, Any] = dump(self)
        if not self.fp32_until:
            del words["fp32_until"]  # what one engine knows is not told of the others
        return words

    @property
    def name(self) -> str:
        """How it is asked for: ``RUNTIME-PRECISION``."""
        return f"{self.runtime}-{self.precision}"

    @property
    def proven(self) -> bool:
        """Whether it was held against the model and passed."""
        return self.parity.get("passed") is True


class Manifest(_Part):
    """What ``bundle.json`` holds.

    ``seal`` is the sha256 over the canonical JSON of all the rest; ``write`` sets it. A manifest written by hand may go without.
    ``calibration`` is there where scores were calibrated; it is no part of the embedding space. ``engines`` are further forms
    of the model, each by another name; the model's own file in ONNX Runtime is ``onnxruntime-fp32`` and is not listed.
    """

    format: Literal[1] = 1
    name: str
    method: str
    model: ModelPart
    preprocess: PreprocessPart
    modalities: tuple[Literal["visible", "infrared"], ...] = ("visible", "infrared")
    files: Mapping[str, Sha256]
    provenance: Mapping[str, Any] = Field(default_factory=dict)
    parity: Mapping[str, Any] = Field(default_factory=dict)
    metrics: Mapping[str, Any] = Field(default_factory=dict)
    licence: str = "Apache-2.0"
    notice: str = ""
    calibration: Calibration | None = None
    engines: tuple[EnginePart, ...] = ()
    seal: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle in memory, its checksums verified.

    Attributes:
        path: where it was read.
        manifest: its description.
        contents: the listed files by name.
    """

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]

    @property
    def space_id(self) -> str:
        """The embedding space: sha256 over the model's sha256 and the preprocessing."""
        return space_id(self.manifest)

    @property
    def preprocess(self) -> Preprocess:
        """The resize this bundle's images need."""
        part = self.manifest.preprocess
        return Preprocess(part.height, part.width, part.interpolation)

    def file(self, name: str) -> bytes:
        """Return a listed file's bytes.

        Raises:
            BundleCorrupt: the bundle lists no such file.
        """
        if name not in self.contents:
            raise BundleCorrupt(f"{self.path} lists no file {name!r}; it has {sorted(self.contents)}")
        return self.contents[name]


def space_id(manifest: Manifest) -> str:
    """Name the embedding space of a manifest: equal ids mean comparable embeddings."""
    words = json.dumps(manifest.preprocess.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{manifest.files[manifest.model.file]}\n{words}".encode()).hexdigest()


def open_named(name: str | Path | None) -> Bundle:
    """Read the bundle that a user names by its path; ``default``, or nothing, is the one that comes with vireid.

    Raises:
        BundleError: there is none, or it cannot be used.
    """
    return read(default_path() if name is None or str(name) == DEFAULT else Path(name))


def default_path() -> Path:
    """Return the path of the bundle that comes with vireid.

    Raises:
        BundleMissing: this installation has none.
    """
    path = Path(str(resources.files("vireid") / "assets" / "default.bundle.zip"))
    if not path.is_file():
        raise BundleMissing(
            f"this installation has no default bundle at {path}; reinstall vireid or name a bundle"
        )
    return path


def read(path: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleMissing: there is nothing at ``path``, or a folder without a manifest.
        BundleCorrupt: it cannot be read, or a file does not match its checksum.
        BundleUnsupported: it has a format version we do not know.
    """
    read_file = bundle_files.reader(path)
    manifest = _manifest(path, read_file(MANIFEST))
    contents = {}
    for name, expected in manifest.files.items():
        if not bundle_files.is_plain(name):
            raise BundleCorrupt(f"{path}: the file name {name!r} leaves the bundle; expected plain names")
        data = read_file(name)
        found = hashlib.sha256(data).hexdigest()
        if found != expected:
            raise BundleCorrupt(
                f"{path}: {name} does not match its checksum (sha256 {found[:12]}..., expected {expected[:12]}...); "
                f"copy or export the bundle again",
                metadata={"file": name},
            )
        contents[name] = data
    return Bundle(path, manifest, contents)


def write(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Write a bundle atomically: a .zip if ``path`` ends so (an old one is replaced), else a folder.

    The manifest's checksums and seal are set here.

    Returns:
        ``path``.

    Raises:
        AlreadyExists: the folder exists.
        BundleError: the model's file is not among ``files``, a name is not plain, or the manifest holds what JSON cannot.
        StorageError: the disk is full or refuses; what was there stays.
    """
    if manifest.model.file not in files:
        raise BundleError(
            f"the manifest names the model {manifest.model.file!r}; the files are {sorted(files)}"
        )
    for part in manifest.engines:
        if missing := [name for name in (part.file, part.report) if name and name not in files]:
            raise BundleError(f"the engine {part.name} needs {missing[0]!r}; the files are {sorted(files)}")
    if len({part.name for part in manifest.engines} | {SOURCE}) <= len(manifest.engines):
        raise BundleError(
            f"found the engines {[part.name for part in manifest.engines]}; expected each once, and {SOURCE} not listed"
        )
    if strange := [name for name in files if not bundle_files.is_plain(name) or name == MANIFEST]:
        raise BundleError(f"found the file names {strange}; expected plain names other than {MANIFEST}")
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    try:
        words = manifest.model_dump(mode="json") | {"files": sums}
        if manifest.calibration is None:
            del words["calibration"]
        if not manifest.engines:
            del words["engines"]
        words["seal"] = _seal(words)
        text = json.dumps(words, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise BundleError(f"the manifest cannot be written as JSON: {error}") from error
    everything = {MANIFEST: text.encode(), **dict(sorted(files.items()))}
    bundle_files.write(path, everything)
    return path


def calibrated(bundle: Bundle, calibration: Calibration | None, path: Path) -> Path:
    """Write a bundle again with another calibration, or with none; its files and its embedding space stay the same.

    Returns:
        ``path``.

    Raises:
        AlreadyExists: ``path`` is a folder that exists (a .zip is replaced).
        BundleError: the calibration holds what JSON cannot.
    """
    return write(path, bundle.manifest.model_copy(update={"calibration": calibration}), bundle.contents)


def with_engine(bundle: Bundle, part: EnginePart, files: Mapping[str, bytes], path: Path) -> Path:
    """Write a bundle again with one engine more, or another of the same name; its embedding space stays the same.

    Args:
        bundle: to start from.
        part: the engine; its graph and its page are among ``files`` or the bundle's.
        files: those that are new or changed.
        path: where to write; the .zip it was read from may be replaced.

    Returns:
        ``path``.

    Raises:
        AlreadyExists: ``path`` is a folder that exists (a .zip is replaced).
        BundleError: the engine is the model itself, or names a file that is not there.
    """
    manifest, contents = bundle.manifest, {**bundle.contents, **files}
    if (
        files.get(manifest.model.file, bundle.contents[manifest.model.file])
        != bundle.contents[manifest.model.file]
    ):
        raise BundleError("an engine may not replace the model; give its graph another name")
    kept = tuple(other for other in manifest.engines if other.name != part.name)
    engines = tuple(sorted((*kept, part), key=lambda one: one.name))
    used = {name for one in engines for name in (one.file, one.report)}
    dropped = {name for one in manifest.engines for name in (one.file, one.report)} - used
    left = {name: data for name, data in contents.items() if name not in dropped - {manifest.model.file}}
    return write(path, manifest.model_copy(update={"engines": engines}), left)


def _seal(words: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in words.items() if key != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleCorrupt(f"{path}: {MANIFEST} is no JSON ({error})", metadata={"file": MANIFEST}) from None
    if not isinstance(raw, dict) or "format" not in raw:
        raise BundleCorrupt(f"{path}: {MANIFEST} names no format version", metadata={"file": MANIFEST})
    if raw["format"] != FORMAT:
        raise BundleUnsupported(
            f"{path}: bundle format {raw['format']!r} found, {FORMAT} is supported; export it again, or upgrade",
            metadata={"found": str(raw["format"]), "supported": str(FORMAT)},
        )
    try:
        manifest = Manifest.model_validate(raw)
        sealed = not manifest.seal or manifest.seal == _seal(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleCorrupt(
            f"{path}: {MANIFEST}: {where}: {first['msg']}", metadata={"file": MANIFEST}
        ) from None
    except ValueError:
        sealed = False  # NaN or infinity, which a seal cannot cover
    if not sealed:
        raise BundleCorrupt(
            f"{path}: {MANIFEST} does not match its seal; copy or export the bundle again "
            f"(after an edit by hand, take the line 'seal' out)",
            metadata={"file": MANIFEST},
        )
    named = [manifest.model.file, *(name for part in manifest.engines for name in (part.file, part.report))]
    for name in named:
        if name and name not in manifest.files:
            raise BundleCorrupt(
                f"{path}: {MANIFEST} lists no checksum for {name!r}", metadata={"file": MANIFEST}
            )
    return manifest
