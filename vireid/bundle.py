"""The bundle: weights, how to prepare images for them, and where they come from. All that crosses training -> export -> server.

A folder or a .zip holding ``bundle.json`` and the files it lists with their sha256. Written atomically, and the same content
gives the same bytes. Knows no runtime.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vireid.errors import BundleCorrupt, BundleMissing, BundleUnsupported
from vireid.images.preprocess import Preprocess

FORMAT = 1
MANIFEST = "bundle.json"
MAX_FILE_BYTES = 2 * 1024**3
MAX_FILES = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelPart(_Part):
    """The network's file and shape."""

    file: str = "model.onnx"
    opset: int
    precision: str = "fp32"
    dim: int = Field(ge=1)


class PreprocessPart(_Part):
    """How images become the network's input; mean and std are applied inside the graph."""

    height: int = Field(ge=8, le=2048)
    width: int = Field(ge=8, le=2048)
    channels: Literal["RGB"] = "RGB"
    resize: Literal["stretch"] = "stretch"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Manifest(_Part):
    """What ``bundle.json`` holds."""

    format: Literal[1] = 1
    name: str
    method: str
    model: ModelPart
    preprocess: PreprocessPart
    modalities: tuple[Literal["visible", "infrared"], ...] = ("visible", "infrared")
    files: Mapping[str, str]
    provenance: Mapping[str, Any] = Field(default_factory=dict)
    parity: Mapping[str, Any] = Field(default_factory=dict)
    metrics: Mapping[str, Any] = Field(default_factory=dict)
    licence: str = "Apache-2.0"
    notice: str = ""


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
        BundleMissing: there is nothing at ``path``.
        BundleCorrupt: it cannot be read, or a file does not match its checksum.
        BundleUnsupported: it has a format version we do not know.
    """
    if path.is_dir():
        read_file: Callable[[str], bytes] = _FolderFiles(path)
    elif path.is_file():
        read_file = _ZipFiles(path)
    else:
        raise BundleMissing(
            f"there is no bundle at {path}; expected a folder or .zip with {MANIFEST}: export one with 'vireid export onnx'"
        )
    manifest = _manifest(path, read_file(MANIFEST))
    contents = {}
    for name, expected in manifest.files.items():
        _check_name(path, name)
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
    """Write a bundle atomically: a .zip if ``path`` ends so, else a folder that must not exist yet.

    The manifest's checksums are those of ``files``.

    Returns:
        ``path``.
    """
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    whole = Manifest.model_validate(manifest.model_dump() | {"files": sums})
    text = json.dumps(whole.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    everything = {MANIFEST: text.encode(), **dict(sorted(files.items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        _write_zip(path, everything)
    else:
        _write_folder(path, everything)
    return path


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise BundleCorrupt(f"{path}: {MANIFEST} is no JSON ({error})", metadata={"file": MANIFEST}) from None
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise BundleUnsupported(
            f"{path}: bundle format {version!r} found, {FORMAT} is supported; export it again with this version, or upgrade"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleCorrupt(
            f"{path}: {MANIFEST}: {where}: {first['msg']}", metadata={"file": MANIFEST}
        ) from None
    if manifest.model.file not in manifest.files:
        raise BundleCorrupt(f"{path}: {MANIFEST} lists no checksum for {manifest.model.file!r}")
    return manifest


def _check_name(path: Path, name: str) -> None:
    if name != Path(name).name or name in {"", ".", ".."} or "\\" in name:
        raise BundleCorrupt(f"{path}: the file name {name!r} leaves the bundle; expected plain names")


class _FolderFiles:
    """Reads a bundle's files from a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> bytes:
        file = self._root / name
        if file.is_symlink() or not file.is_file():
            if name == MANIFEST:
                raise BundleMissing(f"{self._root} holds no {MANIFEST}; expected a bundle folder")
            raise BundleCorrupt(f"{self._root}: {name} is missing", metadata={"file": name})
        return file.read_bytes()


class _ZipFiles:
    """Reads a bundle's files from a zip, whole and in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
            self._names = [entry.filename for entry in self._zip.infolist()]
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise BundleCorrupt(f"{path} is no readable zip ({error}); copy it again") from None
        if len(self._names) > MAX_FILES or len(set(self._names)) != len(self._names):
            raise BundleCorrupt(
                f"{path} holds {len(self._names)} entries or a name twice; that is no bundle of ours"
            )

    def __call__(self, name: str) -> bytes:
        if name not in self._names:
            if name == MANIFEST:
                raise BundleMissing(f"{self._path} holds no {MANIFEST}; expected a bundle")
            raise BundleCorrupt(f"{self._path}: {name} is missing", metadata={"file": name})
        if self._zip.getinfo(name).file_size > MAX_FILE_BYTES:
            raise BundleCorrupt(f"{self._path}: {name} unfolds to more than {MAX_FILE_BYTES:,} bytes")
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise BundleCorrupt(
                f"{self._path}: {name} cannot be read ({error})", metadata={"file": name}
            ) from None


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
        part.write(out.getvalue())
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).chmod(0o644)
    Path(part.name).replace(path)


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists; write a bundle to a new place")
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    for name, data in files.items():
        (part / name).write_bytes(data)
    part.chmod(0o755)
    part.rename(path)
