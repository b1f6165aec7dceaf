"""The CUDA driver, as far as running a plan needs it: memory, streams, copies and graphs, behind three small interfaces.

It is called through ``ctypes`` on the driver's own library: that comes with every driver, so that nothing more is installed, no
version of a CUDA runtime has to match TensorRT's, and asking whether there is a GPU loads nothing else. Knows no TensorRT.
"""

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vireid.arrays import UInt8Array
from vireid.errors import EngineError, ProviderUnavailable

LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
NON_BLOCKING = 1  # a stream that does not wait for the default one
THREAD_LOCAL = 1  # what other threads do to the device does not spoil a capture
MAJOR, MINOR = 75, 76  # attributes: the compute capability


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as plans know it.

    Attributes:
        name: for example ``NVIDIA H200``.
        sm: its compute capability, for example ``9.0``.
        cuda: the CUDA version of its driver, for example ``13.0``.
    """

    name: str
    sm: str
    cuda: str


class Block(Protocol):
    """A piece of the device's memory with its twin in pinned memory of the host."""

    @property
    def address(self) -> int:
        """On the device."""
        ...

    @property
    def host(self) -> UInt8Array:
        """The twin's bytes."""
        ...


class Stream(Protocol):
    """Work in order, never on the default stream. All of it is asynchronous but ``wait``."""

    @property
    def handle(self) -> int:
        """As the driver and TensorRT know it."""
        ...

    def upload(self, block: Block, count: int) -> None:
        """Copy the first bytes of the host's twin to the device."""
        ...

    def download(self, block: Block, count: int) -> None:
        """Copy the first bytes from the device to the host's twin."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what ``work`` puts on the stream; what comes back runs it again at one go.

        Raises:
            EngineError: it cannot be recorded. What ``work`` raises comes through.
        """
        ...

    def wait(self) -> None:
        """Wait until all is done.

        Raises:
            EngineError: something failed.
        """
        ...


class Driver(Protocol):
    """A GPU, opened."""

    @property
    def gpu(self) -> Gpu:
        """Which one it is."""
        ...

    def enter(self) -> None:
        """Let this thread use the GPU."""
        ...

    def block(self, size: int, *, twin: bool = True) -> Block:
        """Take memory; it is given back with the block.

        Raises:
            EngineError: there is not enough.
        """
        ...

    def stream(self) -> Stream:
        """Make a stream."""
        ...


def open_driver() -> Driver:
    """Open the first GPU that this process may see.

    Raises:
        ProviderUnavailable: there is no driver or no GPU.
    """
    return CudaDriver(_library())


def _library() -> ctypes.CDLL:
    troubles = []
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            troubles.append(str(error))
    raise ProviderUnavailable(
        f"there is no NVIDIA driver on this machine ({troubles[0]}); TensorRT needs one: install it, or take another engine"
    )


class CudaDriver:
    """The driver's library, of which the first visible GPU is used.

    Args:
        library: libcuda, or what answers in its place.

    Raises:
        ProviderUnavailable: it does not start, or sees no GPU.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        device, context = c_int(), c_void_p()
        try:
            self.call("cuInit", c_uint(0))
            self.call("cuDeviceGet", byref(device), c_int(0))  # fails where there is none
            self._gpu = self._describe(device)
            # the context that TensorRT's own runtime uses too
            self.call("cuDevicePrimaryCtxRetain", byref(context), device)
        except EngineError as error:
            raise ProviderUnavailable(
                f"the NVIDIA driver does not run here ({error.message}); look at nvidia-smi, or take another engine"
            ) from None
        self._context = context

    @property
    def gpu(self) -> Gpu:
        """Which one it is."""
        return self._gpu

    def enter(self) -> None:
        """Let this thread use the GPU."""
        self.call("cuCtxSetCurrent", self._context)

    def block(self, size: int, *, twin: bool = True) -> Block:
        """Take memory of the device, and as much pinned memory of the host if a twin is wanted."""
        self.enter()
        return _Block(self, size, twin)

    def stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""
        self.enter()
        return _Stream(self)

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the driver.

        Raises:
            EngineError: it answers with an error.
        """
        code = int(getattr(self._library, name)(*arguments))
        if code:
            words = c_char_p()
            self._library.cuGetErrorString(c_int(code), byref(words))
            text = words.value.decode() if words.value else "an error without a name"
            raise EngineError(f"{name}: CUDA error {code}, {text}", metadata={"code": str(code)})

    def _describe(self, device: c_int) -> Gpu:
        name, version = ctypes.create_string_buffer(256), c_int()
        major, minor = c_int(), c_int()
        self.call("cuDeviceGetName", name, c_int(256), device)
        self.call("cuDriverGetVersion", byref(version))
        self.call("cuDeviceGetAttribute", byref(major), c_int(MAJOR), device)
        self.call("cuDeviceGetAttribute", byref(minor), c_int(MINOR), device)
        cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", cuda)

    def release(self, name: str, handle: c_void_p) -> None:
        """Give something back; at the end of the process the driver may be gone already, which is as good."""
        self._library.cuCtxSetCurrent(self._context)
        getattr(self._library, name)(handle)


def _given_back(owner: object, driver: CudaDriver, name: str, handle: c_void_p) -> None:
    weakref.finalize(owner, driver.release, name, handle).atexit = False


class _Block:
    def __init__(self, driver: CudaDriver, size: int, twin: bool) -> None:
        device, host = c_void_p(), c_void_p()
        driver.call("cuMemAlloc_v2", byref(device), c_size_t(size))
        _given_back(self, driver, "cuMemFree_v2", device)
        if twin:
            driver.call("cuMemHostAlloc", byref(host), c_size_t(size), c_uint(0))
            _given_back(self, driver, "cuMemFreeHost", host)
        self._address = int(device.value or 0)
        self._host = np.empty(0, np.uint8)
        if host.value:
            self._host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host.value))

    @property
    def address(self) -> int:
        return self._address

    @property
    def host(self) -> UInt8Array:
        return self._host


class _Stream:
    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self._stream = c_void_p()
        driver.call("cuStreamCreate", byref(self._stream), c_uint(NON_BLOCKING))
        _given_back(self, driver, "cuStreamDestroy_v2", self._stream)

    @property
    def handle(self) -> int:
        return int(self._stream.value or 0)

    def upload(self, block: Block, count: int) -> None:
        host = c_void_p(block.host.ctypes.data)
        self._driver.call(
            "cuMemcpyHtoDAsync_v2", c_void_p(block.address), host, c_size_t(count), self._stream
        )

    def download(self, block: Block, count: int) -> None:
        host = c_void_p(block.host.ctypes.data)
        self._driver.call(
            "cuMemcpyDtoHAsync_v2", host, c_void_p(block.address), c_size_t(count), self._stream
        )

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        graph, runnable = c_void_p(), c_void_p()
        self._driver.call("cuStreamBeginCapture_v2", self._stream, c_int(THREAD_LOCAL))
        try:
            work()
        except BaseException:
            # the capture must be ended before the stream can be used again; that it was spoilt is known already
            with suppress(EngineError):
                self._driver.call("cuStreamEndCapture", self._stream, byref(graph))
            raise
        self._driver.call("cuStreamEndCapture", self._stream, byref(graph))
        try:
            self._driver.call("cuGraphInstantiateWithFlags", byref(runnable), graph, c_ulonglong(0))
        finally:
            self._driver.call("cuGraphDestroy", graph)
        return _Graph(self._driver, runnable, self._stream)

    def wait(self) -> None:
        self._driver.call("cuStreamSynchronize", self._stream)


class _Graph:
    def __init__(self, driver: CudaDriver, runnable: c_void_p, stream: c_void_p) -> None:
        self._driver, self._runnable, self._stream = driver, runnable, stream
        _given_back(self, driver, "cuGraphExecDestroy", runnable)

    def __call__(self) -> None:
        self._driver.call("cuGraphLaunch", self._runnable, self._stream)
