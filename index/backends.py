"""The backends by the name that a store is given. Knows nothing of how they search."""

from collections.abc import Callable

from index.backend import Backend
from index.exact import ExactBackend
from index.faiss_cpu import FaissBackend

BACKENDS: dict[str, Callable[[int], Backend]] = {"faiss": FaissBackend, "exact": ExactBackend}
