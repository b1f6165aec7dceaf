"""libcuda without a GPU: the functions we call, over ordinary memory, as strict as the real ones.

Work on a stream is done when the stream is waited for, never earlier, so that a missing wait shows. The default stream, memory
that was given back, a thread that did not enter, and work outside a capture's rules answer with the driver's own error codes.
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

OK, INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE, INVALID_CONTEXT, ILLEGAL_ADDRESS = 0, 1, 2, 100, 201, 700
CAPTURE_INVALIDATED = 901
TEXTS = {
    1: b"invalid argument",
    2: b"out of memory",
    100: b"no CUDA-capable device is detected",
    201: b"invalid device context",
    700: b"an illegal memory access was encountered",
    901: b"operation failed due to a previous error during capture",
}
CONTEXT = 0x77


def _value(argument: Any) -> int:
    return int(getattr(argument, "value", argument) or 0)


@dataclass
class FakeStream:
    waiting: list[Callable[[], None]] = field(default_factory=list)
    recording: list[Callable[[], None]] | None = None
    spoilt: bool = False


class FakeCuda:
    """What ``ctypes.CDLL('libcuda.so.1')`` gives."""

    def __init__(
        self, name: str = "NVIDIA Test", sm: tuple[int, int] = (9, 0), memory: int = 1 << 40
    ) -> None:
        self.name, self.sm, self.left = name, sm, memory
        self.started = False
        self.fails: dict[str, int] = {}  # function -> code it answers with
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.pinned: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.streams: dict[int, FakeStream] = {}
        self.graphs: dict[int, tuple[int, list[Callable[[], None]]]] = {}
        self.runnable: dict[int, list[Callable[[], None]]] = {}
        self.calls: list[str] = []
        self.broken = 0  # a code that a kernel left behind: from then on everything fails
        self._entered = threading.local()
        self._next = 0x1000

    def __getattr__(self, name: str) -> Callable[..., int]:
        try:
            function = object.__getattribute__(self, f"do_{name}")
        except AttributeError:
            raise AttributeError(f"function not found: {name}") from None

        def called(*arguments: Any) -> int:
            self.calls.append(name)
            if name == "cuGetErrorString":
                return int(function(*arguments))
            if name in self.fails:
                return self.fails[name]
            if self.broken:
                return self.broken
            if not self.started and name != "cuInit":
                return 3  # not initialised
            free = ("cuInit", "cuDevice", "cuDriver", "cuCtx")
            if not name.startswith(free) and getattr(self._entered, "context", None) != CONTEXT:
                return INVALID_CONTEXT
            return int(function(*arguments))

        return called

    def handle(self) -> int:
        self._next += 0x10
        return self._next

    # ---- the device -------------------------------------------------------------
    def do_cuInit(self, flags: Any) -> int:  # noqa: N802
        self.started = True
        return OK

    def do_cuGetErrorString(self, code: Any, words: Any) -> int:  # noqa: N802
        words._obj.value = TEXTS.get(_value(code))
        return OK

    def do_cuDeviceGet(self, device: Any, number: Any) -> int:  # noqa: N802
        device._obj.value = 0
        return OK

    def do_cuDeviceGetName(self, buffer: Any, size: Any, device: Any) -> int:  # noqa: N802
        buffer.value = self.name.encode()
        return OK

    def do_cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13030
        return OK

    def do_cuDeviceGetAttribute(self, value: Any, attribute: Any, device: Any) -> int:  # noqa: N802
        value._obj.value = self.sm[{75: 0, 76: 1}[_value(attribute)]]
        return OK

    def do_cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        context._obj.value = CONTEXT
        return OK

    def do_cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self._entered.context = _value(context)
        return OK

    # ---- memory -----------------------------------------------------------------
    def do_cuMemAlloc_v2(self, pointer: Any, size: Any) -> int:  # noqa: N802
        if _value(size) > self.left:
            return OUT_OF_MEMORY
        self.left -= _value(size)
        buffer = ctypes.create_string_buffer(b"\xee" * _value(size), _value(size))  # never zeros
        pointer._obj.value = ctypes.addressof(buffer)
        self.memory[ctypes.addressof(buffer)] = buffer
        return OK

    def do_cuMemFree_v2(self, pointer: Any) -> int:  # noqa: N802
        self.left += len(self.memory.pop(_value(pointer)))
        return OK

    def do_cuMemHostAlloc(self, pointer: Any, size: Any, flags: Any) -> int:  # noqa: N802
        buffer = ctypes.create_string_buffer(b"\xdd" * _value(size), _value(size))
        pointer._obj.value = ctypes.addressof(buffer)
        self.pinned[ctypes.addressof(buffer)] = buffer
        return OK

    def do_cuMemFreeHost(self, pointer: Any) -> int:  # noqa: N802
        del self.pinned[_value(pointer)]
        return OK

    def do_cuMemcpyHtoDAsync_v2(self, device: Any, host: Any, count: Any, stream: Any) -> int:  # noqa: N802
        return self._copy(_value(device), _value(host), _value(count), _value(stream))

    def do_cuMemcpyDtoHAsync_v2(self, host: Any, device: Any, count: Any, stream: Any) -> int:  # noqa: N802
        return self._copy(_value(device), _value(host), _value(count), _value(stream), back=True)

    def _copy(self, device: int, host: int, count: int, stream: int, *, back: bool = False) -> int:
        if device not in self.memory or host not in self.pinned or count > len(self.memory[device]):
            return INVALID_VALUE
        target, source = (host, device) if back else (device, host)
        return self.enqueue(stream, lambda: ctypes.memmove(target, source, count))

    # ---- streams and graphs ---------------------------------------------------------
    def enqueue(self, stream: int, work: Callable[[], Any]) -> int:
        """Put work on a stream; the kernels of a plan come this way too."""
        if stream not in self.streams:
            return INVALID_VALUE  # the default stream among them
        found = self.streams[stream]
        (found.waiting if found.recording is None else found.recording).append(work)
        return OK

    def spoil(self, stream: int) -> None:
        """Do what no capture survives."""
        self.streams[stream].spoilt = self.streams[stream].recording is not None

    def do_cuStreamCreate(self, stream: Any, flags: Any) -> int:  # noqa: N802
        assert _value(flags) == 1, "a stream that waits for the default one"
        stream._obj.value = self.handle()
        self.streams[stream._obj.value] = FakeStream()
        return OK

    def do_cuStreamDestroy_v2(self, stream: Any) -> int:  # noqa: N802
        del self.streams[_value(stream)]
        return OK

    def do_cuStreamSynchronize(self, stream: Any) -> int:  # noqa: N802
        found = self.streams[_value(stream)]
        if found.recording is not None:
            return CAPTURE_INVALIDATED
        while found.waiting and not self.broken:
            found.waiting.pop(0)()
        return self.broken

    def do_cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:  # noqa: N802
        assert _value(mode) == 1, "a capture that other threads can spoil"
        assert not self.streams[_value(stream)].waiting
        self.streams[_value(stream)].recording = []
        return OK

    def do_cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        found = self.streams[_value(stream)]
        recorded, found.recording = found.recording, None
        if found.spoilt or recorded is None:
            found.spoilt = False
            return CAPTURE_INVALIDATED
        graph._obj.value = self.handle()
        self.graphs[graph._obj.value] = (_value(stream), recorded)
        return OK

    def do_cuGraphInstantiateWithFlags(self, runnable: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        runnable._obj.value = self.handle()
        self.runnable[runnable._obj.value] = self.graphs[_value(graph)][1]
        return OK

    def do_cuGraphLaunch(self, runnable: Any, stream: Any) -> int:  # noqa: N802
        for work in self.runnable[_value(runnable)]:
            if code := self.enqueue(_value(stream), work):
                return code
        return OK

    def do_cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        del self.graphs[_value(graph)]
        return OK

    def do_cuGraphExecDestroy(self, runnable: Any) -> int:  # noqa: N802
        del self.runnable[_value(runnable)]
        return OK
