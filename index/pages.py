"""Memory that will be written soon: its pages are asked for beside whoever writes, and many at a time.

The first write to each page of new memory stops until the system has found and cleared one; on a virtual machine it
asks the host as well, which takes longer than reading what is to go there. Knows not what is written.
"""

import ctypes
import mmap
import sys
import threading
from collections.abc import Sequence

import numpy as np

# Linux 5.14; makes pages writable and leaves what they hold as it is
POPULATE_WRITE = 23
AT_ONCE = 64 * 2**20
# less than this is written as soon
LEAST_BYTES = 64 * 2**20


class Ahead:
    """Asks for the pages of arrays, in their order, in a thread of its own.

    Args:
        arrays: as C has them; they must not be resized until ``wait`` has returned.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._thread: threading.Thread | None = None
        if sys.platform == "linux" and sum(one.nbytes for one in arrays) >= LEAST_BYTES:
            # daemon: who ends the program does not wait for memory
            self._thread = threading.Thread(target=_ask, args=(arrays,), daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait until all are there, or the system has refused; again is no harm."""
        if self._thread is not None:
            self._thread.join()


def _ask(arrays: Sequence[np.ndarray]) -> None:
    advise = ctypes.CDLL(None).madvise  # lets other threads run meanwhile, as mmap's own does not
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for one in arrays:
        start, stop = one.ctypes.data, one.ctypes.data + one.nbytes
        for at in range(-(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop, AT_ONCE):
            count = min(AT_ONCE, stop - at) // mmap.PAGESIZE * mmap.PAGESIZE
            if advise(at, count, POPULATE_WRITE):
                return  # an older system, or no memory: whoever writes finds out
