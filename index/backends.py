"""The backends by the name that a store is given. Knows nothing of how they search."""

from collections.abc import Callable
from functools import partial

from index.approx import ApproxBackend
from index.backend import Backend
from index.exact import ExactBackend
from index.faiss_cells import Cells
from index.faiss_cpu import FaissBackend
from index.faiss_gpu import GpuBackend
from index.faiss_graph import Graph
from index.scan import ScanBackend

# what a gallery is searched by unless somebody says otherwise
DEFAULT = "scan"
BACKENDS: dict[str, Callable[[int], Backend]] = {
    "scan": ScanBackend,
    "faiss": FaissBackend,
    "exact": ExactBackend,
    "ivf": partial(ApproxBackend, nearby=Cells),
    "faiss-gpu": GpuBackend,
    "hnsw": partial(ApproxBackend, nearby=Graph),
}
# those that may miss somebody in a large gallery
APPROXIMATE = frozenset({"ivf", "hnsw"})
