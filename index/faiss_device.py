"""One GPU as FAISS uses it: found at the start, asked by one thread, its failures in our words.

FAISS's resources of a device may be used by one thread only, also for searching: one worker asks, callers wait for
that. No other library holds memory of the device for it. Knows no index and no vectors.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import faiss

from vireid.errors import EngineError, ProviderUnavailable

P = ParamSpec("P")
T = TypeVar("T")

TEMPORARY_BYTES = 256 * 2**20
# the most that FAISS's own kernels give or look into at once
MOST_AT_ONCE = 2048


class Device:
    """A GPU and the one thread that uses it.

    Args:
        number: of the GPU.
        library: FAISS, built with GPU support.

    Attributes:
        number: of the GPU.
        library: FAISS.
        resources: FAISS's, for indexes on this device; on the worker only.

    Raises:
        ProviderUnavailable: FAISS knows no GPU, or there is no such GPU.
    """

    def __init__(self, number: int = 0, library: Any = faiss) -> None:
        if not hasattr(library, "StandardGpuResources"):
            raise ProviderUnavailable(
                "the installed FAISS is built for CPUs; install faiss-gpu in the place of faiss-cpu, or choose backend 'scan'"
            )
        found = library.get_num_gpus()
        if found <= number:
            raise ProviderUnavailable(
                f"FAISS finds {found} GPUs, number {number} is asked for; see that the driver is there, or choose backend 'scan'"
            )
        self.number, self.library = number, library
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="faiss-gpu")
        self.resources = self.ask(self._made)

    def ask(self, what: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Have the worker do something.

        Raises:
            EngineError: the device failed.
        """
        try:
            return self._worker.submit(what, *arguments, **named).result()
        except RuntimeError as error:
            raise EngineError(
                f"the GPU's index failed ({error}); see what else uses the GPU, or choose backend 'scan'"
            ) from error

    def _made(self) -> Any:
        resources = self.library.StandardGpuResources()
        resources.setTempMemory(TEMPORARY_BYTES)
        return resources
