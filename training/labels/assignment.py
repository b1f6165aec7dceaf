"""Labels from a classifier's answers: by optimal transport, which shares the classes out, or by the greatest answer.

A classifier that was trained on one modality favours some classes on the other; transport demands that each class
gets its share of images. Knows no persons and no network.

Wang et al., Optimal Transport for Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022, equation 5.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.labels.pseudo import PseudoLabels
from training.transport import Problem, solve
from vireid.arrays import Float32Array, Int64Array
from vireid.errors import TrainingError

DELTA = 25.0
LEAST = 1e-37  # a probability that underflowed counts as this, so that its logarithm is finite

Probabilities = Tensor | NDArray[np.floating]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """Labels of images from what a classifier answered.

    Attributes:
        labels: class of each image, (N,).
        confidence: the share of the image's mass (or probability) that its class has, (N,).
        histogram: images of each class, (K,).
        made: how, in words and numbers.
    """

    labels: Int64Array
    confidence: Float32Array
    histogram: Int64Array
    made: Mapping[str, Any]

    def pseudo_labels(self) -> PseudoLabels:
        """Return them as pseudo-labels; no image is an outlier."""
        return PseudoLabels(
            self.labels, self.confidence, np.zeros(len(self.labels), dtype=np.bool_), self.made
        )


def transported(
    probabilities: Probabilities,
    *,
    delta: float = DELTA,
    columns: NDArray[np.floating] | None = None,
    stop: Literal["marginal", "published"] = "marginal",
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> Assigned:
    """Assign each image the class that gets most of its mass in the optimal plan.

    Args:
        probabilities: softmax rows of images over classes, solved on the device they lie on, (N, K).
        delta: sharpness of the plan.
        columns: share of the images that each class is to get, (K,); the same for all where None.
        stop: when to stop iterating; ``published`` is the authors' rule, which is loose for few images.
        max_iterations: of the solver.
        tolerance: greatest relative error of a marginal.

    Raises:
        TrainingError: rows that are no probabilities, or shares that are no marginal.
    """
    rows = _checked(probabilities)
    cost = rows.clamp(min=LEAST).log().neg()
    plan = solve(
        Problem(cost, columns=columns, delta=delta),
        max_iterations=max_iterations,
        tolerance=tolerance,
        stop=stop,
    )
    if not plan.converged:
        log.warning(
            "the transport of %d images to %d classes stopped after %d iterations at a marginal error of %.2g",
            *rows.shape,
            plan.iterations,
            plan.error,
        )
    found = [(block.argmax(1), block.amax(1) / block.sum(1)) for _, block in plan.blocks()]
    return _assigned(
        torch.cat([label for label, _ in found]),
        torch.cat([share for _, share in found]),
        rows.shape[1],
        {
            "by": "transport",
            "delta": delta,
            "stop": stop,
            "iterations": plan.iterations,
            "converged": plan.converged,
            "error": plan.error,
        },
    )


def most_likely(probabilities: Probabilities) -> Assigned:
    """Assign each image its most probable class, the first of equal ones.

    Args:
        probabilities: softmax rows of images over classes, (N, K).

    Raises:
        TrainingError: rows that are no probabilities.
    """
    rows = _checked(probabilities)
    return _assigned(rows.argmax(1), rows.amax(1), rows.shape[1], {"by": "most likely"})


def _assigned(label: Tensor, share: Tensor, classes: int, made: Mapping[str, Any]) -> Assigned:
    labels = label.cpu().numpy().astype(np.int64)
    histogram = np.bincount(labels, minlength=classes).astype(np.int64)
    confidence = share.clamp(0, 1).float().cpu().numpy()
    return Assigned(labels, confidence, histogram, {**made, "images": len(labels), "classes": classes})


def _checked(probabilities: Probabilities) -> Tensor:
    """Return probabilities as a tensor without a gradient."""
    rows = probabilities.detach() if isinstance(probabilities, Tensor) else torch.as_tensor(probabilities)
    if rows.ndim != 2 or 0 in rows.shape:
        raise TrainingError(
            f"probabilities have shape {tuple(rows.shape)}; expected (images, classes), neither 0"
        )
    rows = rows if rows.is_floating_point() else rows.double()
    rows = rows.float() if rows.element_size() < 4 else rows
    sums = rows.sum(1)
    wrong = ~(((sums - 1).abs() < 1e-2) & (rows >= 0).all(1))  # NaN is wrong too
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        raise TrainingError(
            f"{int(wrong.sum())} of {len(rows)} rows are no probabilities, the first is row {first} with sum "
            f"{float(sums[first]):g}; expected softmax outputs: numbers from 0 up that sum to 1"
        )
    return rows
