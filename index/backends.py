"""The backends by the name that a store is given. Knows nothing of how they search.

Each is imported when it is made: their loops need numba and some need FAISS, and who only asks for help waits for
neither.
"""

from collections.abc import Callable

from index.backend import Backend

# what a gallery is searched by unless somebody says otherwise
DEFAULT = "scan"


def _scan(dim: int) -> Backend:
    from index.scan import ScanBackend

    return ScanBackend(dim)


def _faiss(dim: int) -> Backend:
    from index.faiss_cpu import FaissBackend

    return FaissBackend(dim)


def _exact(dim: int) -> Backend:
    from index.exact import ExactBackend

    return ExactBackend(dim)


def _ivf(dim: int) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_cells import Cells

    return ApproxBackend(dim, nearby=Cells)


def _faiss_gpu(dim: int) -> Backend:
    from index.faiss_gpu import GpuBackend

    return GpuBackend(dim)


def _hnsw(dim: int) -> Backend:
    from index.approx import ApproxBackend
    from index.faiss_graph import Graph

    return ApproxBackend(dim, nearby=Graph)


BACKENDS: dict[str, Callable[[int], Backend]] = {
    "scan": _scan,
    "faiss": _faiss,
    "exact": _exact,
    "ivf": _ivf,
    "faiss-gpu": _faiss_gpu,
    "hnsw": _hnsw,
}
# those that may miss somebody in a large gallery
APPROXIMATE = frozenset({"ivf", "hnsw"})
