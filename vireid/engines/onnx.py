"""ONNX Runtime as an engine, on the CPU or on CUDA.

The provider that really runs is read back from the session; asking for CUDA and getting the CPU is an error, never silent.
"""

import numpy as np
import onnxruntime as ort

from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.bundle import Bundle
from vireid.engines.base import EngineInfo, check_batch
from vireid.errors import BundleCorrupt, EngineError, ProviderUnavailable

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
INPUTS = {"images": "tensor(uint8)", "modality": "tensor(int64)"}
OUTPUT = "embeddings"
UNIT_TOLERANCE = 1e-3


class OnnxEngine:
    """A bundle's graph in an ONNX Runtime session; one session may be used from several threads.

    Args:
        bundle: what to load.
        device: ``cpu``, ``cuda``, or ``auto``: CUDA where it really runs, else the CPU.
        threads: threads one call uses.

    Raises:
        ProviderUnavailable: CUDA was asked for and does not run here.
        BundleCorrupt: the graph is not what the manifest promises.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int = 1) -> None:
        self._space_id = bundle.space_id
        self._dim = bundle.manifest.model.dim
        self._input_size = (bundle.manifest.preprocess.height, bundle.manifest.preprocess.width)
        self._session = _session(bundle, device, threads)
        _check_graph(bundle, self._session)
        provider = self._session.get_providers()[0]
        self._info = EngineInfo(
            runtime=f"onnxruntime {ort.__version__}",
            provider=provider,
            device="cuda:0" if provider == CUDA else "cpu",
            precision=bundle.manifest.model.precision,
            threads=threads,
        )

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._info

    @property
    def space_id(self) -> str:
        """The embedding space."""
        return self._space_id

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images ``embed`` takes."""
        return self._input_size

    @property
    def dim(self) -> int:
        """Embedding dimension D."""
        return self._dim

    def embed(self, images: UInt8Array, modality: Int64Array) -> Float32Array:
        """Embed preprocessed images.

        Args:
            images: RGB, (B, H, W, 3), B >= 1.
            modality: 0 visible, 1 infrared, (B,).

        Returns:
            Unit rows, (B, D).

        Raises:
            EngineError: the shape or type is wrong, or the runtime failed.
        """
        check_batch(images, modality, self._input_size)
        try:
            rows = self._session.run([OUTPUT], {"images": images, "modality": modality})[0]
        except Exception as error:  # onnxruntime's errors have no public base
            raise EngineError(f"onnxruntime failed: {error}") from error
        norms = np.linalg.norm(rows, axis=1)
        if not np.all(np.abs(norms - 1.0) < UNIT_TOLERANCE):
            raise EngineError(
                f"the model gave rows of norm {norms.min():.4g} to {norms.max():.4g}; expected 1"
            )
        result: Float32Array = rows
        return result


def _session(bundle: Bundle, device: str, threads: int) -> ort.InferenceSession:
    wanted = _providers(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = bundle.file(bundle.manifest.model.file)
    try:
        session = ort.InferenceSession(model, options, providers=wanted)
    except Exception as error:  # onnxruntime's errors have no public base
        if device == "cuda":
            raise ProviderUnavailable(f"CUDA was asked for but the session failed: {error}") from error
        raise BundleCorrupt(f"{bundle.path}: onnxruntime cannot load the graph: {error}") from error
    if device == "cuda" and session.get_providers()[0] != CUDA:
        raise ProviderUnavailable(
            f"CUDA was asked for but onnxruntime runs {session.get_providers()}; install a driver, or ask for the cpu"
        )
    return session


def _providers(device: str) -> list[str]:
    available = ort.get_available_providers()
    if device == "cpu":
        return [CPU]
    if device == "cuda" and CUDA not in available:
        raise ProviderUnavailable(
            f"CUDA was asked for, but this onnxruntime {ort.__version__} offers {available}; "
            f"install onnxruntime-gpu in its place, or ask for the cpu"
        )
    if device not in {"auto", "cuda"}:
        raise ProviderUnavailable(f"device is auto, cpu or cuda, not {device!r}")
    return [CUDA, CPU] if CUDA in available else [CPU]


def _check_graph(bundle: Bundle, session: ort.InferenceSession) -> None:
    found = {entry.name: entry.type for entry in session.get_inputs()}
    if found != INPUTS:
        raise BundleCorrupt(f"{bundle.path}: the graph takes {found}; expected {INPUTS}")
    part = bundle.manifest.preprocess
    shape = next(entry.shape for entry in session.get_inputs() if entry.name == "images")
    if list(shape[1:]) != [part.height, part.width, 3]:
        raise BundleCorrupt(
            f"{bundle.path}: the graph takes images {shape}; the manifest says {part.height} x {part.width}"
        )
    outputs = {entry.name: entry.shape for entry in session.get_outputs()}
    if OUTPUT not in outputs or outputs[OUTPUT][-1] != bundle.manifest.model.dim:
        raise BundleCorrupt(
            f"{bundle.path}: the graph gives {outputs}; expected {OUTPUT} (B, {bundle.manifest.model.dim})"
        )
