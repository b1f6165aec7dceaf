"""ONNX Runtime as an engine, on the CPU or on CUDA.

The provider that really runs is read back from the session, and on CUDA what most convolutions and products were given to; every
graph proves itself on two pictures before it is handed out. Asking for CUDA and getting the CPU is an error, never silent.
"""

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.bundle import Bundle, EnginePart
from vireid.engines import onnx_outside, onnx_sums
from vireid.engines.base import EngineInfo, Loaded, check_batch, check_rows
from vireid.engines.onnx_binding import Bindings
from vireid.errors import BundleCorrupt, BundleError, EngineError, ProviderUnavailable

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DEVICES = ("auto", "cpu", "cuda")
INPUTS = {"images": "tensor(uint8)", "modality": "tensor(int64)"}
OUTPUT = "embeddings"
# what costs, under the names it has after fusions too
HEAVY = ("Conv", "MatMul", "Gemm")
# how the CPU's convolutions hold their maps: in blocks of channels as wide as a register, or as the graph says. Blocks are
# a third faster for a ResNet, and a tenth slower for a network of many narrow layers
Layout = Literal["blocked", "plain"]
LEVELS = {
    "blocked": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "plain": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}
NOWHERE = str(Path(os.devnull) / "no-external-weights")
GPU_MEMORY = 4 << 30  # bytes that the arena may hold; the rest is for galleries, and for others
# the arena grows by what is asked for and not by powers of two, and batches of many sizes do not search convolutions anew
CUDA_OPTIONS = {
    "device_id": 0,
    "gpu_mem_limit": GPU_MEMORY,
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
}

log = logging.getLogger(__name__)


class OnnxEngine(Loaded):
    """A bundle's graph in an ONNX Runtime session; one session may be used from several threads.

    Args:
        bundle: what to load.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where it really runs, else the CPU.
        threads: threads one call uses.
        layout: of maps on the CPU; answers differ in the last bits only.
        part: another graph of the bundle; the model itself if None.

    Raises:
        ProviderUnavailable: CUDA was asked for and does not run here.
        BundleCorrupt: the graph is not what the manifest promises.
        EngineError: a device or number of threads that cannot be.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        threads: int = 1,
        layout: Layout = "blocked",
        part: EnginePart | None = None,
    ) -> None:
        file = bundle.manifest.model.file if part is None else part.file
        self._session = _session(bundle, file, device, threads, layout)
        provider = self._session.get_providers()[0]
        self._bindings = Bindings(ort, self._session, "cuda", OUTPUT) if provider == CUDA else None
        info = EngineInfo(
            runtime=f"onnxruntime {ort.__version__}",
            provider=provider,
            device="cuda:0" if provider == CUDA else "cpu",
            precision=(part or bundle.manifest.model).precision,
            threads=threads,
        )
        super().__init__(info, bundle.space_id, bundle.preprocess.size, bundle.manifest.model.dim)

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images; see ``vireid.engines.base.Engine.embed``."""
        check_batch(images, modality, self._input_size)
        return _run(self._bindings or self._session, images, modality)


def _run(runs: ort.InferenceSession | Bindings, images: UInt8Array, modality: Int64Array) -> Float32Array:
    rows: Float32Array
    try:
        if isinstance(runs, Bindings):
            rows = runs.run(images, modality)
        else:
            rows = runs.run([OUTPUT], {"images": images, "modality": modality})[0]
    except Exception as error:  # onnxruntime's errors have no public base
        raise EngineError(f"onnxruntime failed: {error}") from error
    check_rows(rows)
    return rows


def _session(bundle: Bundle, file: str, device: str, threads: int, layout: Layout) -> ort.InferenceSession:
    """Open the graph on the device asked for; ``auto`` falls back to the CPU, in words."""
    if device not in DEVICES:
        raise EngineError(f"found device {device!r}; expected one of {', '.join(DEVICES)}")
    if threads < 1:
        raise EngineError(f"found {threads} threads; expected at least 1")
    available = ort.get_available_providers()
    if device == "cuda" and CUDA not in available:
        raise ProviderUnavailable(
            f"CUDA was asked for, but this onnxruntime {ort.__version__} offers {available}; "
            f"install onnxruntime-gpu in its place, or ask for the cpu"
        )
    if device == "cpu" or CUDA not in available:
        return _open(bundle, file, [CPU], threads, layout)
    try:
        session = _open(bundle, file, [(CUDA, CUDA_OPTIONS), CPU], threads, layout)
        runs = session.get_providers()
        trouble = _left_to_the_cpu(session) if runs[0] == CUDA else f"onnxruntime runs {runs}"
    except BundleError as error:
        trouble = error.message
    if not trouble:
        return session
    session = _open(bundle, file, [CPU], threads, layout)  # fails where the bundle is at fault and not CUDA
    if device == "cuda":
        raise ProviderUnavailable(
            f"CUDA was asked for but does not run here ({trouble}); install a driver, or ask for the cpu"
        )
    log.warning("CUDA is offered but does not run here (%s); embedding on the CPU", trouble)
    return session


def _left_to_the_cpu(session: ort.InferenceSession) -> str:
    """Say that a session on CUDA has most of its work done by the CPU, as where CUDA lacks the kernels; empty if not."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ""  # an onnxruntime before 1.24 does not tell
    heavy = [
        (part.ep_name == CUDA, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
        if any(word in node.op_type for word in HEAVY)
    ]
    left = [kind for there, kind in heavy if not there]
    if 2 * len(left) <= len(heavy):
        return ""
    return f"{len(left)} of {len(heavy)} convolutions and products are left to the CPU: {', '.join(sorted(set(left)))}"


def _open(
    bundle: Bundle,
    file: str,
    providers: list[str | tuple[str, dict[str, object]]],
    threads: int,
    layout: Layout,
) -> ort.InferenceSession:
    """Open the graph, check what it declares, and run it once.

    Raises:
        BundleCorrupt: it cannot be loaded, leans on what is not in it, declares something else than the manifest, or does not
            run.
    """
    graph = bundle.file(file)
    onnx_outside.refuse(graph, f"{bundle.path}: {file}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[layout]
    if providers != [CPU]:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, value in onnx_sums.settings().items():
        options.add_session_config_entry(name, value)
    # waiting threads sleep: spinning ones take the cores that other sessions need
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # refused above; should one slip through, it is not read from the working directory
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    try:
        session = ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no public base
        raise BundleCorrupt(f"{bundle.path}: onnxruntime cannot load the graph: {error}") from error
    _check_graph(bundle, session)
    part = bundle.manifest.preprocess
    grey = np.full((2, part.height, part.width, 3), 128, dtype=np.uint8)
    try:
        found = _run(session, grey, np.array([0, 1])).shape
    except EngineError as error:
        raise BundleCorrupt(f"{bundle.path}: the graph does not run: {error.message}") from error
    if found != (2, bundle.manifest.model.dim):
        raise BundleCorrupt(
            f"{bundle.path}: two pictures gave {found}; expected (2, {bundle.manifest.model.dim})"
        )
    return session


def _check_graph(bundle: Bundle, session: ort.InferenceSession) -> None:
    part = bundle.manifest.preprocess
    found = {entry.name: entry.type for entry in session.get_inputs()}
    if found != INPUTS:
        raise BundleCorrupt(f"{bundle.path}: the graph takes {found}; expected {INPUTS}")
    outputs = {entry.name: entry for entry in session.get_outputs()}
    if OUTPUT not in outputs or outputs[OUTPUT].type != "tensor(float)":
        words = {name: entry.type for name, entry in outputs.items()}
        raise BundleCorrupt(f"{bundle.path}: the graph gives {words}; expected {OUTPUT} tensor(float)")
    shapes = {entry.name: entry.shape for entry in [*session.get_inputs(), outputs[OUTPUT]]}
    expected = {
        "images": [part.height, part.width, 3],
        "modality": [],
        OUTPUT: [bundle.manifest.model.dim],
    }
    for name, rest in expected.items():
        shape = shapes[name]
        # a number in the first place would fix the batch
        if not shape or isinstance(shape[0], int) or list(shape[1:]) != rest:
            raise BundleCorrupt(f"{bundle.path}: {name} is declared {shape}; expected {['batch', *rest]}")
