"""From a torch model to a proven ONNX bundle.

One graph: ``images`` uint8 (B, H, W, 3) RGB and ``modality`` int64 (B,) in, unit rows out, normalisation
inside, any batch, one file. What is written has been run by the engine that will serve it and held against
the torch model; otherwise nothing is written. Knows no training and no checkpoints.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from export import diagnosis, folding, masks, parity
from export.parity import Probes, Report
from export.torch_engine import TorchEngine, shape_of
from vireid import bundle
from vireid.engines import Engine, open_engine
from vireid.errors import BundleError, EngineError, ExportError

OPSET = 22  # the first in which a convolution may be bfloat16
OPSETS = range(18, 24)
STEPS = 2  # of an export: the graph, its proof
MAX_BATCH = 1024
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class Description:
    """What a bundle says of its model beside what is measured here.

    Attributes:
        name: of the bundle, shown to users.
        method: how the model was trained.
        mean: per channel, of pixels scaled to 0..1, as the graph subtracts it.
        std: per channel, as the graph divides by it.
        interpolation: how images are resized before they reach the graph.
        provenance: dataset, recipe, seed, git commit and what else is known.
        metrics: accuracy with its protocol.
        licence: of the weights.
        notice: what the licence demands to be said.
    """

    name: str
    method: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bilinear"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    notice: str = ""


def export(
    model: nn.Module,
    description: Description,
    out: Path,
    *,
    probes: Probes | None = None,
    opset: int = OPSET,
    advance: Callable[[int], None] = lambda _steps: None,
) -> Path:
    """Write a model as a bundle, proven against the model itself.

    Args:
        model: its evaluation forward takes (images, modality) and gives unit rows; it has ``input_size`` and
            ``dim``.
        description: what the bundle says of it.
        out: a folder, or a file ending in .zip.
        probes: images to prove parity on; drawn figures if not given.
        opset: ONNX operator set, 18 to 23; of 23, TensorRT refuses the attention.
        advance: told of each of the ``STEPS`` that is done.

    Returns:
        Where the bundle is.

    Raises:
        ExportError: the model cannot be exported or the exported one differs; nothing is left at ``out``.
    """
    if out.exists() and not (out.is_file() and out.suffix == ".zip"):
        raise ExportError(f"{out} is there already; name a new folder, or a .zip, which is replaced")
    model = model.eval()
    height, width, _ = shape_of(model)
    graph = to_graph(model, opset)
    advance(1)
    probes = probes or parity.draw_probes(height, width)
    report = prove(model, graph, description, probes)
    advance(1)
    return bundle.write(out, _manifest(model, graph, description, report), {MODEL_FILE: graph})


def to_graph(model: nn.Module, opset: int = OPSET) -> bytes:
    """Turn a model into one checked ONNX file.

    Raises:
        ExportError: the model holds what ONNX cannot say, or the graph does not have our inputs and outputs.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} was asked for; {OPSETS[0]} to {OPSETS[-1]} are supported")
    height, width, dim = shape_of(model)
    example = (torch.zeros(2, height, width, 3, dtype=torch.uint8), torch.tensor([0, 1]))
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    try:
        noisy.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # the exporter warns of its own deprecated calls and of the batch axis two inputs share
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                example,
                dynamo=True,
                opset_version=opset,
                input_names=["images", "modality"],
                output_names=["embeddings"],
                dynamic_shapes=({0: batch}, {0: batch}),
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise ExportError(f"the model cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    finally:
        noisy.setLevel(level)
    if program is None:
        raise ExportError("the model cannot be written as ONNX: the exporter gave nothing")
    proto = _without_traces(program.model_proto)
    folding.cast_first(proto.graph)
    masks.drop_idle(proto.graph)
    folding.drop_unread(proto.graph)
    _check(proto, opset, (height, width, dim))
    graph: bytes = proto.SerializeToString()
    return graph


def prove(model: nn.Module, graph: bytes, description: Description, probes: Probes) -> Report:
    """Hold a graph, run by the engine that will serve it, against the torch model.

    Raises:
        ExportError: they differ.
    """
    try:
        return parity.prove(TorchEngine(model), open_graph(model, graph, description), probes)
    except (EngineError, BundleError) as error:
        raise ExportError(f"the exported model does not run: {error.message}") from error
    except ExportError as error:
        raise ExportError(f"{error.message}; {diagnosis.advise(model, probes)}") from error


def open_graph(model: nn.Module, graph: bytes, description: Description, threads: int = 1) -> Engine:
    """Open a graph in the engine that will serve it, by way of a bundle that is thrown away.

    Raises:
        BundleCorrupt: the engine cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        manifest = _manifest(model, graph, description, None)
        trial = bundle.write(Path(folder) / "trial.zip", manifest, {MODEL_FILE: graph})
        return open_engine(bundle.read(trial), device="cpu", threads=threads)


def _without_traces(proto: Any) -> Any:
    """Take out what the exporter says of the source code: it is large and names this machine's folders."""
    parts = [proto, proto.graph, *proto.graph.node, *proto.graph.initializer]
    for part in [*parts, *proto.graph.input, *proto.graph.output]:
        del part.metadata_props[:]
        part.doc_string = ""
    del proto.graph.value_info[:]
    return proto


def _check(proto: Any, opset: int, shape: tuple[int, int, int]) -> None:
    height, width, dim = shape
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    if versions != {"": opset}:
        raise ExportError(
            f"the exported graph uses operator sets {versions}; only ai.onnx {opset} may be used"
        )
    found = {
        value.name: (value.type.tensor_type.elem_type, *_dimensions(value))
        for value in [*proto.graph.input, *proto.graph.output]
    }
    expected = {
        "images": (onnx.TensorProto.UINT8, "batch", height, width, 3),
        "modality": (onnx.TensorProto.INT64, "batch"),
        "embeddings": (onnx.TensorProto.FLOAT, "batch", dim),
    }
    if found != expected:
        raise ExportError(f"the exported graph has {found}; {expected} was expected")


def _dimensions(value: Any) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _manifest(
    model: nn.Module, graph: bytes, description: Description, report: Report | None
) -> bundle.Manifest:
    height, width, dim = shape_of(model)
    proto = onnx.load_from_string(graph)
    return bundle.Manifest.model_validate(
        {
            "format": 1,
            "name": description.name,
            "method": description.method,
            "model": {
                "file": MODEL_FILE,
                "opset": proto.opset_import[0].version,
                "precision": "fp32",
                "dim": dim,
            },
            "preprocess": {
                "height": height,
                "width": width,
                "channels": "RGB",
                "resize": "stretch",
                "interpolation": description.interpolation,
                "mean": list(description.mean),
                "std": list(description.std),
            },
            "modalities": ["visible", "infrared"],
            "files": {MODEL_FILE: sha256(graph).hexdigest()},
            "provenance": dict(description.provenance),
            "parity": {} if report is None else report.as_json(),
            "metrics": dict(description.metrics),
            "licence": description.licence,
            "notice": description.notice,
        }
    )
