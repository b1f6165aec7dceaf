"""A bundle's model in half precision as further engines of it: proven where it runs here, else estimated and added unproven.

fp16 runs in ONNX Runtime, on a CPU too, and in TensorRT; bf16 in TensorRT only, on a GPU, so that what it will give is estimated
by rounding in fp32. Where half sums do not come near enough, sums stay fp32. Knows no command line.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from export import comparison, half, parity, proving, rounding
from export.bars import BARS
from export.exam import Exam
from export.half import Half, Halved
from export.parity import Report
from vireid import bundle as bundles
from vireid.bundle import Bundle, EnginePart
from vireid.engines import open_engine, open_part
from vireid.errors import ExportError

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one precision.

    Attributes:
        halved: the graph.
        exact: whether sums stayed fp32.
        report: of the engine as it serves or, for bf16, of the estimate.
    """

    halved: Halved
    exact: bool
    report: Report


def add(path: Path, precision: Half, exam: Exam, bar: Bar, *, keep_failed: bool = False) -> Added:
    """Add a half precision to a bundle, in its place.

    Args:
        path: of the bundle, a .zip.
        precision: ``fp16`` or ``bf16``.
        exam: what it is proven on.
        bar: shows progress.
        keep_failed: add it though it misses its bar; it is served with ``--allow-unproven`` only.

    Raises:
        ExportError: the graph cannot be half, or comes not near enough to its model; the bundle stays as it was.
    """
    added = _tried(path, precision, exam, bar, keep_failed=keep_failed)
    bundle, file = bundles.read(path), _file(precision)
    if not _has_proven(bundle, precision, added.halved.graph):
        part = EnginePart(runtime="tensorrt", precision=precision, file=file)
        bundles.with_engine(bundle, part, {file: added.halved.graph}, path)
    return added


def _tried(path: Path, precision: Half, exam: Exam, bar: Bar, *, keep_failed: bool) -> Added:
    bundle = bundles.read(path)
    fast = half.halve(bundle.file(bundle.manifest.model.file), precision)
    try:
        return Added(fast, False, _proved(bundle, precision, fast, exam, bar))
    except ExportError:
        # what half sums lose, exact ones may keep; if not, their error is told
        exact = half.halve(bundle.file(bundle.manifest.model.file), precision, exact=True)
        return Added(exact, True, _proved(bundle, precision, exact, exam, bar, keep_failed=keep_failed))


def _proved(
    bundle: Bundle, precision: Half, halved: Halved, exam: Exam, bar: Bar, *, keep_failed: bool = False
) -> Report:
    if precision == "bf16":
        return _estimated(bundle, halved, exam, bar, keep_failed=keep_failed)
    part = EnginePart(runtime="onnxruntime", precision=precision, file=_file(precision))
    files = {part.file: halved.graph}
    with bar(f"proving {part.name}", comparison.steps(len(exam))) as advance:
        return proving.prove_and_add(
            bundle, part, files, exam, bundle.path, keep_failed=keep_failed, advance=advance
        )


def _estimated(bundle: Bundle, halved: Halved, exam: Exam, bar: Bar, *, keep_failed: bool) -> Report:
    """Hold the rounded fp32 graph against the model.

    Raises:
        ExportError: it comes not near enough, so that the engine on a GPU would not either.
    """
    part = EnginePart(runtime="onnxruntime", precision="bf16", file="rounded.onnx")
    trial = proving.with_files(bundle, part, {part.file: rounding.spelled_out(halved.graph)})
    source, candidate = open_engine(bundle, device="cpu"), open_part(trial, part, device="cpu")
    with bar("estimating bf16", comparison.steps(len(exam))) as advance:
        report = parity.examine(source, candidate, exam, BARS["bf16"], advance=advance)
    if not report.passed and not keep_failed:
        raise ExportError(
            "bf16 would not come near enough to its model, so nothing is written; take fp16: "
            + "; ".join(report.failures)
        )
    return report


def _file(precision: Half) -> str:
    return f"{precision}.onnx"


def _has_proven(bundle: Bundle, precision: Half, graph: bytes) -> bool:
    """Whether TensorRT has this very graph already, proven on a GPU: then it stays."""
    return any(
        part.runtime == "tensorrt"
        and part.precision == precision
        and part.proven
        and bundle.file(part.file) == graph
        for part in bundle.manifest.engines
    )
