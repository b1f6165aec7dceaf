"""The backends by the name that a store is given. Knows nothing of how they search."""

from collections.abc import Callable

from index.backend import Backend
from index.exact import ExactBackend
from index.faiss_cpu import FaissBackend
from index.scan import ScanBackend

# what a gallery is searched by unless somebody says otherwise
DEFAULT = "scan"
BACKENDS: dict[str, Callable[[int], Backend]] = {
    "scan": ScanBackend,
    "faiss": FaissBackend,
    "exact": ExactBackend,
}
