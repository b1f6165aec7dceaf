"""A bundle's model in half precision as further engines of it: proven where it runs here, else added unproven.

fp16 runs in ONNX Runtime, on a CPU too, and in TensorRT; bf16 in TensorRT only, on a GPU. Knows no command line.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from export import comparison, half, proving
from export.exam import Exam
from export.half import Half, Halved
from export.parity import Report
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one precision.

    Attributes:
        halved: the graph.
        report: of the engine that runs here; None where none does.
    """

    halved: Halved
    report: Report | None


def add(
    path: Path, precision: Half, exam: Callable[[Bundle], Exam], bar: Bar, *, keep_failed: bool = False
) -> Added:
    """Add a half precision to a bundle, in its place.

    Args:
        path: of the bundle, a .zip.
        precision: ``fp16`` or ``bf16``.
        exam: gives what to prove on; asked only where there is something to prove.
        bar: shows progress.
        keep_failed: add it though it misses its bar; it is served with ``--allow-unproven`` only.

    Raises:
        ExportError: the graph cannot be half, or comes not near enough to its model; the bundle stays as it was.
    """
    bundle = bundles.read(path)
    with bar(f"halving to {precision}", 1) as advance:
        halved = half.halve(bundle.file(bundle.manifest.model.file), precision)
        advance(1)
    file = f"{precision}.onnx"
    report = None
    if precision == "fp16":
        part, asked = EnginePart(runtime="onnxruntime", precision=precision, file=file), exam(bundle)
        with bar(f"proving {part.name}", comparison.steps(len(asked))) as advance:
            report = proving.prove_and_add(
                bundle, part, {file: halved.graph}, asked, path, keep_failed=keep_failed, advance=advance
            )
        bundle = bundles.read(path)
    if not _has_proven(bundle, precision, halved.graph):
        part = EnginePart(runtime="tensorrt", precision=precision, file=file)
        bundles.with_engine(bundle, part, {file: halved.graph}, path)
    return Added(halved, report)


def _has_proven(bundle: Bundle, precision: Half, graph: bytes) -> bool:
    """Whether TensorRT has this very graph already, proven on a GPU: then it stays."""
    return any(
        part.runtime == "tensorrt"
        and part.precision == precision
        and part.proven
        and bundle.file(part.file) == graph
        for part in bundle.manifest.engines
    )
