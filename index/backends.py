"""The backends by the name that a store is given. Knows nothing of how they search.

Each is imported when it is made: their loops need numba and some need FAISS, and who only asks for help waits for
neither.
"""

from pathlib import Path
from typing import Protocol

from index.backend import Backend

# what a gallery is searched by unless somebody says otherwise
DEFAULT = "scan"


class Maker(Protocol):
    """Makes an empty backend."""

    def __call__(self, dim: int, folder: Path | None = None, /) -> Backend:
        """Make one.

        Args:
            dim: of its rows.
            folder: where one that keeps vectors in a file has it; a temporary one if None. The others need none.
        """


def _scan(dim: int, _: Path | None = None) -> Backend:
    from index.scan import ScanBackend

    return ScanBackend(dim)


def _scan_file(dim: int, folder: Path | None = None) -> Backend:
    from index.room import FileRoom
    from index.scan import ScanBackend

    return ScanBackend(dim, FileRoom(dim, folder))


def _faiss(dim: int, _: Path | None = None) -> Backend:
    from index.faiss_cpu import FaissBackend

    return FaissBackend(dim)


def _exact(dim: int, _: Path | None = None) -> Backend:
    from index.exact import ExactBackend

    return ExactBackend(dim)


def _ivf(dim: int, _: Path | None = None) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_cells import Cells

    return ApproxBackend(dim, Cells(dim))


def _hnsw(dim: int, _: Path | None = None) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_graph import Graph
    from index.numbered import Numbered

    return ApproxBackend(dim, Numbered(Graph(dim)))


def _faiss_gpu(dim: int, _: Path | None = None) -> Backend:
    from index.faiss_gpu import GpuBackend

    return GpuBackend(dim)


def _faiss_gpu_ivfpq(dim: int, _: Path | None = None) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_device import Device
    from index.faiss_gpu_cells import GpuCells
    from index.numbered import Numbered

    return ApproxBackend(dim, Numbered(GpuCells(dim, Device())))


def _faiss_gpu_cagra(dim: int, _: Path | None = None) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_device import Device
    from index.faiss_gpu_graph import GpuGraph
    from index.numbered import Numbered

    return ApproxBackend(dim, Numbered(GpuGraph(dim, Device())))


BACKENDS: dict[str, Maker] = {
    "scan": _scan,
    "scan-file": _scan_file,
    "faiss": _faiss,
    "exact": _exact,
    "ivf": _ivf,
    "hnsw": _hnsw,
    "faiss-gpu": _faiss_gpu,
    "faiss-gpu-ivfpq": _faiss_gpu_ivfpq,
    "faiss-gpu-cagra": _faiss_gpu_cagra,
}
# those that may miss somebody in a large gallery
APPROXIMATE = frozenset({"ivf", "hnsw", "faiss-gpu-ivfpq", "faiss-gpu-cagra"})
# those that are refused where there is no GPU
NEEDS_GPU = frozenset({"faiss-gpu", "faiss-gpu-ivfpq", "faiss-gpu-cagra"})


def made(name: str, dim: int, folder: Path) -> Backend:
    """Make an empty backend of a gallery; one that keeps vectors in a file has it in this folder."""
    return BACKENDS[name](dim, folder)
