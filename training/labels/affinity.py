"""How alike images are as shares: within a modality by Jaccard distances, across modalities by a transport plan.

Rows of shares sum to 1, so that labels times them are labels again. Within a modality only pairs whose encodings overlap
are held; across, every pair has a share, and blocks of rows are made from the plan's potentials, or held where they
are few. Knows no labels' meaning.

He et al., Exploring Homogeneous and Heterogeneous Consistent Label Associations for Unsupervised Visible-Infrared Person
ReID, arXiv 2402.00672, 2024: the affinities; sparse and in blocks is ours.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.labels.jaccard import similarities
from training.transport import Plan, RowBlocks
from vireid.arrays import Float32Array
from vireid.errors import TrainingError

FloatArray = NDArray[np.floating]

HEIGHT = 1024  # rows of a block
HELD_BYTES = 2 << 30  # blocks that take no more are kept; of others each product makes them anew
FLOOR = 1e-20  # shares below it are 0: single precision has no fast numbers for them
DENSE = 0.05  # share of pairs above which a block is multiplied faster with its zeros


class Homogeneous:
    """Shares within one modality: rows of one minus the Jaccard distance, brought to sum 1.

    Args:
        similarity: of all pairs that have any, a SciPy CSR array with a diagonal above 0, (N, N).
    """

    def __init__(self, similarity: Any) -> None:
        sums = np.asarray(similarity.sum(1)).ravel()
        if not (sums > 0).all():
            raise TrainingError(
                f"{int((sums <= 0).sum())} images are like none, not even themselves; expected a diagonal above 0"
            )
        self._shares = similarity.copy()
        self._shares.data = self._shares.data / np.repeat(sums, np.diff(similarity.indptr)).astype(
            similarity.dtype
        )

    @classmethod
    def of(cls, encoded: Any) -> "Homogeneous":
        """Make them of a k-reciprocal encoding, as ``jaccard.encode`` returns it, (N, N)."""
        return cls(similarities(encoded))

    @property
    def pairs(self) -> int:
        """How many pairs have a share, each image with itself among them."""
        return int(self._shares.nnz)

    def smooth(self, labels: FloatArray) -> FloatArray:
        """Average each image's labels with those of the images that are like it, (N, C)."""
        made = self._times(labels)
        made += labels
        made *= 0.5
        return made

    def _times(self, labels: FloatArray) -> FloatArray:
        count = self._shares.shape[0]
        if self._shares.nnz < DENSE * count * count:
            made: FloatArray = self._shares @ labels
            return made
        made = np.empty_like(labels)
        for start in range(0, count, HEIGHT):
            made[start : start + HEIGHT] = self._shares[start : start + HEIGHT].toarray() @ labels
        return made


class Heterogeneous:
    """Shares across modalities: a plan's rows, and its columns, brought to sum 1.

    Args:
        plan: of N rows and M columns, on the processor.
        precision: of the shares; labels are best given in the same.
    """

    def __init__(self, plan: Plan, precision: type[np.floating] = np.float32) -> None:
        self._plan, self._precision = plan, precision
        n, m = self.shape = plan.problem.shape
        self._sent = np.empty(n)
        self._received = np.zeros(m)
        self._held: list[FloatArray] = []
        held = n * m * np.dtype(precision).itemsize <= HELD_BYTES
        for start in range(0, n, HEIGHT):
            block = self._made(start)
            self._received += self._sent[start : start + len(block)] @ block
            if held:
                self._held.append(block)

    def to_rows(self, labels: FloatArray) -> FloatArray:
        """Give each row the labels of the columns it sends to, by their shares, (N, C) of (M, C)."""
        made = np.empty((self.shape[0], labels.shape[1]), labels.dtype)
        for start, block in self._blocks():
            np.matmul(block, labels, out=made[start : start + len(block)])
        return made

    def to_columns(self, labels: FloatArray) -> FloatArray:
        """Give each column the labels of the rows it receives from, by their shares, (M, C) of (N, C)."""
        weighted = labels * self._sent[:, None].astype(labels.dtype)
        made = np.zeros((self.shape[1], labels.shape[1]), labels.dtype)
        for start, block in self._blocks():
            made += block.T @ weighted[start : start + len(block)]
        made /= self._received[:, None].astype(labels.dtype)
        return made

    def _blocks(self) -> Iterator[tuple[int, FloatArray]]:
        for number, start in enumerate(range(0, self.shape[0], HEIGHT)):
            yield start, self._held[number] if self._held else self._made(start)

    def _made(self, start: int) -> FloatArray:
        """Make rows of shares from the plan's potentials, and note what they sent in all, as a multiple of 1/N."""
        problem, stop = self._plan.problem, min(start + HEIGHT, self.shape[0])
        kind = torch.float32 if self._precision == np.float32 else torch.float64
        block = problem.block(start, stop).to(kind) * -problem.delta
        block.add_(self._plan.v.to(kind)).add_(self._plan.u[start:stop, None].to(kind)).exp_()
        sums = block.sum(1, keepdim=True)
        self._sent[start:stop] = sums[:, 0].double().numpy() * self.shape[0]
        made: FloatArray = torch.threshold_(block.div_(sums), FLOOR, 0).numpy()
        return made


def squared_distances(first: Float32Array, second: Float32Array) -> RowBlocks:
    """Give the squared distances between images of two modalities as a cost of transport that is never held whole.

    Args:
        first: unit rows, (N, D).
        second: unit rows, (M, D).
    """
    return RowBlocks((len(first), len(second)), _Strips(first, second).rows)


class _Strips:
    """Squared distances of unit rows by blocks; a few hundred rows are multiplied at once, whoever asks for fewer."""

    def __init__(self, first: Float32Array, second: Float32Array) -> None:
        self._first, self._second = first, second
        self._begin, self._strip = 0, np.empty((0, len(second)), np.float32)

    def rows(self, start: int, stop: int) -> Float32Array:
        if not self._begin <= start <= stop <= self._begin + len(self._strip):
            self._begin = start
            self._strip = self._first[start : max(stop, start + HEIGHT)] @ self._second.T
            self._strip *= -2
            self._strip += 2
        return self._strip[start - self._begin : stop - self._begin]
