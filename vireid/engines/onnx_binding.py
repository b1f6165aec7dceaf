"""ONNX Runtime's inputs in memory of the device that is used again: nothing is reserved anew for each batch.

Knows no bundle and no checks.
"""

import queue
import threading
from typing import Any

import numpy as np

from vireid.arrays import Float32Array, Int64Array, UInt8Array


class Binding:
    """Room for one batch size on a device, and the session bound to it; one caller at a time.

    Args:
        runtime: the module ``onnxruntime``.
        session: what runs.
        shape: of the images, (B, H, W, 3).
        device: where the session computes: ``cuda``, or ``cpu``.
        output: name of what it gives.
    """

    def __init__(self, runtime: Any, session: Any, shape: tuple[int, ...], device: str, output: str) -> None:
        room = runtime.OrtValue.ortvalue_from_shape_and_type
        self._session = session
        self._images = room(list(shape), np.uint8, device, 0)
        self._modality = room([shape[0]], np.int64, device, 0)
        self._bound = session.io_binding()
        self._bound.bind_ortvalue_input("images", self._images)
        self._bound.bind_ortvalue_input("modality", self._modality)
        self._bound.bind_output(output, "cpu")

    def run(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed one batch of this size."""
        self._images.update_inplace(np.ascontiguousarray(images))
        self._modality.update_inplace(np.ascontiguousarray(modality))
        self._session.run_with_iobinding(self._bound)
        rows: Float32Array = self._bound.copy_outputs_to_cpu()[0]
        return rows


class Bindings:
    """Bindings by batch size, as many of each as there were callers at once.

    Args:
        runtime: the module ``onnxruntime``.
        session: what runs.
        device: where it computes.
        output: name of what it gives.
    """

    def __init__(self, runtime: Any, session: Any, device: str, output: str) -> None:
        self._runtime, self._session, self._device, self._output = runtime, session, device, output
        self._free: dict[tuple[int, ...], queue.SimpleQueue[Binding]] = {}
        self._lock = threading.Lock()

    def run(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed a batch; several threads may call."""
        with self._lock:
            free = self._free.setdefault(images.shape, queue.SimpleQueue())
        try:
            binding = free.get_nowait()
        except queue.Empty:
            binding = Binding(self._runtime, self._session, images.shape, self._device, self._output)
        rows = binding.run(images, modality)
        free.put(binding)
        return rows
