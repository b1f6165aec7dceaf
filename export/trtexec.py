"""The ``trtexec`` line that builds the same plan by hand. Knows no library."""

from collections.abc import Sequence
from pathlib import Path

from export.tensorrt_part import Workshop
from vireid.bundle import PreprocessPart
from vireid.engines.tensorrt_buckets import Bucket

PROGRAMS = {"tensorrt": "trtexec", "tensorrt_rtx": "tensorrt_rtx"}


def line(workshop: Workshop, prepared: PreprocessPart, graph: Path | None, plan: str) -> Sequence[str]:
    """Say how NVIDIA's own program builds a plan.

    Args:
        workshop: how it was built here.
        prepared: the size of its images.
        graph: the file that holds the graph as TensorRT is given it; its name in words if it was not written.
        plan: what the plan's file is called.
    """
    choices = workshop.choices
    words = [
        PROGRAMS[workshop.library.name],
        f"--onnx={graph or 'GRAPH (write it with --graph-out)'}",
        f"--saveEngine={plan}",
    ]
    for number, bucket in enumerate(choices.buckets):
        words.append(f"--profile={number}")
        words += _shapes(bucket, prepared)
    if not choices.tf32:
        words.append("--noTF32")
    if choices.level is not None:
        words.append(f"--builderOptimizationLevel={choices.level}")
    return words


def _shapes(bucket: Bucket, prepared: PreprocessPart) -> list[str]:
    size = f"{prepared.height}x{prepared.width}x3"
    sizes = {"min": bucket.least, "opt": bucket.usual, "max": bucket.most}
    return [f"--{name}Shapes=images:{batch}x{size},modality:{batch}" for name, batch in sizes.items()]
