"""The OpenVINO operations that a network read from an IR may hold, each as torch code.

Each operation takes its layer's attributes, the inputs that are tensors and the inputs that are known
integers; every tensor keeps the batch as its first dimension. Knows no files and no graph.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vireid.errors import TrainingError

Attributes = Mapping[str, str]
Operation = Callable[[Attributes, list[Tensor], list[int]], Tensor]


def _pair(attributes: Attributes, key: str, default: str) -> list[int]:
    return [int(part) for part in attributes.get(key, default).split(",")]


def _padding(x: Tensor, attributes: Attributes, fill: float) -> tuple[Tensor, list[int]]:
    """Return the input and the padding the operation can do itself, none if padded here."""
    if attributes.get("auto_pad", "explicit") not in {"explicit", "notset", "valid"}:
        raise TrainingError(
            f"the network pads by auto_pad={attributes['auto_pad']!r}; only explicit padding is understood: "
            "convert the network again with explicit padding"
        )
    begin = _pair(attributes, "pads_begin", "0,0")
    end = _pair(attributes, "pads_end", "0,0")
    if begin == end:
        return x, begin
    return F.pad(x, (begin[1], end[1], begin[0], end[0]), value=fill), [0, 0]


def convolution(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Convolve (B, C, H, W) with (O, C, h, w)."""
    x, padding = _padding(tensors[0], attributes, fill=0.0)
    return F.conv2d(
        x,
        tensors[1],
        padding=padding,
        stride=_pair(attributes, "strides", "1,1"),
        dilation=_pair(attributes, "dilations", "1,1"),
    )


def group_convolution(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Convolve (B, G*C, H, W) with (G, O, C, h, w), group by group."""
    weight = tensors[1]
    x, padding = _padding(tensors[0], attributes, fill=0.0)
    return F.conv2d(
        x,
        weight.flatten(0, 1),
        padding=padding,
        stride=_pair(attributes, "strides", "1,1"),
        dilation=_pair(attributes, "dilations", "1,1"),
        groups=weight.shape[0],
    )


def max_pool(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Take the maximum over windows; padding never wins."""
    x, padding = _padding(tensors[0], attributes, fill=-torch.inf)
    return F.max_pool2d(
        x,
        _pair(attributes, "kernel", "1,1"),
        stride=_pair(attributes, "strides", "1,1"),
        padding=padding,
        ceil_mode=attributes.get("rounding_type", "floor") == "ceil",
    )


def average_pool(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Take the mean over windows; unpadded only, so that what the padding counts for is no question."""
    if any(_pair(attributes, "pads_begin", "0,0") + _pair(attributes, "pads_end", "0,0")):
        raise TrainingError(
            "the network has an AvgPool with padding, which is not understood: convert it without padding"
        )
    return F.avg_pool2d(
        tensors[0],
        _pair(attributes, "kernel", "1,1"),
        stride=_pair(attributes, "strides", "1,1"),
        ceil_mode=attributes.get("rounding_type", "floor") == "ceil",
    )


def mean_variance_normalisation(attributes: Attributes, tensors: list[Tensor], axes: list[int]) -> Tensor:
    """Subtract the mean over ``axes`` and, where asked, divide by the deviation."""
    x = tensors[0]
    axes = sorted(axis % x.dim() for axis in axes)
    epsilon = float(attributes.get("eps", "0"))
    inside = attributes.get("eps_mode", "inside_sqrt").lower() == "inside_sqrt"
    scaled = attributes.get("normalize_variance", "true") == "true"
    trailing = axes == list(range(axes[0], x.dim()))
    if scaled and inside and trailing:
        # one fused operation in torch and in ONNX
        return F.layer_norm(x, list(x.shape[axes[0] :]), eps=epsilon)
    centred = x - x.mean(axes, keepdim=True)
    if not scaled:
        return centred
    variance = centred.square().mean(axes, keepdim=True)
    return centred / (torch.sqrt(variance + epsilon) if inside else torch.sqrt(variance) + epsilon)


def reduce_mean(attributes: Attributes, tensors: list[Tensor], axes: list[int]) -> Tensor:
    """Take the mean over ``axes``."""
    return tensors[0].mean(axes, keepdim=attributes.get("keep_dims", "false") == "true")


def matrix_product(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Multiply matrices, either one transposed first where asked."""
    left, right = tensors
    if attributes.get("transpose_a", "false") == "true":
        left = left.transpose(-1, -2)
    if attributes.get("transpose_b", "false") == "true":
        right = right.transpose(-1, -2)
    return left @ right


def concatenate(attributes: Attributes, tensors: list[Tensor], _: list[int]) -> Tensor:
    """Join tensors along one axis."""
    return torch.cat(tensors, int(attributes.get("axis", "0")))


def gather(_: Attributes, tensors: list[Tensor], integers: list[int]) -> Tensor:
    """Take the entries ``integers[:-1]`` along the axis ``integers[-1]``."""
    *indices, axis = integers
    return torch.index_select(tensors[0], axis, torch.tensor(indices, device=tensors[0].device))


OPERATIONS: Mapping[str, Operation] = {
    "Add": lambda _, tensors, __: tensors[0] + tensors[1],
    "AvgPool": average_pool,
    "Concat": concatenate,
    "Convert": lambda _, tensors, __: tensors[0],
    "Convolution": convolution,
    "Gather": gather,
    "GroupConvolution": group_convolution,
    "MVN": mean_variance_normalisation,
    "MatMul": matrix_product,
    "MaxPool": max_pool,
    "Multiply": lambda _, tensors, __: tensors[0] * tensors[1],
    "PReLU": lambda _, tensors, __: F.prelu(tensors[0], tensors[1].flatten()),
    "ReLU": lambda _, tensors, __: F.relu(tensors[0]),
    "ReduceMean": reduce_mean,
    "Reshape": lambda _, tensors, shape: tensors[0].reshape(tensors[0].shape[0], *shape[1:]),
    "Sigmoid": lambda _, tensors, __: torch.sigmoid(tensors[0]),
    "Subtract": lambda _, tensors, __: tensors[0] - tensors[1],
}
