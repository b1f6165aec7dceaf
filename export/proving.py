"""An engine proven against its model and written into the bundle with its report. Knows no way to make an engine."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from export import parity
from export.bars import BARS
from export.exam import Exam
from export.parity import Report
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine, open_part
from vireid.errors import ExportError

Advance = Callable[[int], None]


def prove_and_add(  # noqa: PLR0913 - what is proven, where, and how it is told
    bundle: Bundle,
    part: EnginePart,
    files: Mapping[str, bytes],
    exam: Exam,
    out: Path,
    *,
    keep_failed: bool = False,
    device: str = "auto",
    threads: int = 1,
    advance: Advance | None = None,
) -> Report:
    """Open an engine as it will be served, hold it against the model, and write the bundle with both.

    Args:
        bundle: to start from.
        part: the engine; its graph is among ``files`` or the bundle's.
        files: those that are new or changed.
        exam: what the two are compared on.
        out: where the bundle is written; the .zip it was read from may be replaced.
        keep_failed: write the engine though it failed; it is served with ``--allow-unproven`` only.
        device: where the candidate runs; the model itself runs on the CPU.
        threads: of one call of either.
        advance: told of the images that went through; ``comparison.steps`` says how many there will be.

    Raises:
        ExportError: the engine missed a bar, or the model itself is broken; nothing is written.
        EngineError: the engine does not run here.
        BundleError: the engine cannot be loaded.
        MissingExtra: the page needs the extra ``evaluation``.
    """
    from export import parity_page  # what builds plans does without pictures, as a server does

    trial = with_files(bundle, part, files)
    source = open_engine(bundle, device="cpu", threads=threads)
    candidate = open_part(trial, part, device=device, threads=threads)
    report, compared = parity.examined(source, candidate, exam, BARS[part.precision], advance=advance)
    if not report.passed and not keep_failed:
        raise ExportError(
            f"the engine {part.name} is not near enough to its model, so nothing is written: "
            + "; ".join(report.failures)
        )
    page = parity_page.html(part.name, report, compared, exam).encode()
    add(bundle, part, files, report.as_json(), page, out)
    return report


def add(
    bundle: Bundle,
    part: EnginePart,
    files: Mapping[str, bytes],
    parity: Mapping[str, object],
    page: bytes,
    out: Path,
) -> None:
    """Write a bundle with an engine and its report, whatever that says.

    Args:
        bundle: to start from.
        part: the engine; its graph is among ``files`` or the bundle's.
        files: those that are new or changed.
        parity: the report, empty where there is none yet.
        page: the report as a page; empty for none.
        out: where the bundle is written; the .zip it was read from may be replaced.
    """
    shown = {f"{part.name}.parity.html": page} if page else {}
    told = part.model_copy(update={"parity": parity, "report": "".join(shown)})
    bundles.with_engine(bundle, told, {**files, **shown}, out)


def with_files(bundle: Bundle, part: EnginePart, files: Mapping[str, bytes]) -> Bundle:
    """Return a bundle in memory that holds an engine as well, to be tried out.

    Raises:
        ExportError: the engine's graph is nowhere.
    """
    contents = {**bundle.contents, **files}
    if part.file not in contents:
        raise ExportError(f"the engine {part.name} needs {part.file!r}; the files are {sorted(contents)}")
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    kept = tuple(other for other in bundle.manifest.engines if other.name != part.name)
    manifest = bundle.manifest.model_copy(update={"files": sums, "engines": (*kept, part)})
    return replace(bundle, manifest=manifest, contents=contents)
