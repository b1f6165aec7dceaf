"""OTLA's labels of infrared images: made from a classifier's answers before each epoch, kept in a bank.

By default the classifier looks at every infrared image as it would at a test, and the epoch trains with what comes out.
The published order relabels, of the images that are about to be trained with, those that were drawn, too late for
them. Knows no losses.

Wang et al., Optimal Transport for Label-Efficient Visible-Infrared Person Re-Identification, ECCV 2022, equation 5.
"""

import numpy as np
import torch
from torch import Tensor, nn

from training.data.samplers import Draw
from training.features import Compute, Look
from training.labels.assignment import Assigned, most_likely, transported
from training.labels.outliers import OUTLIER
from training.labels.pseudo import PseudoLabels
from training.method_settings import OtlaSettings
from vireid.arrays import Float32Array, Int64Array


class InfraredLabels(nn.Module):
    """A class for every infrared image, in a buffer that is saved with the weights.

    Args:
        visible: classes of visible images, -1 for those that have none and for infrared ones, (N,).
        infrared: places of the infrared images.
        classes: how many there are.
        wanted: how labels are made.
    """

    bank: Tensor

    def __init__(self, visible: Int64Array, infrared: Int64Array, classes: int, wanted: OtlaSettings) -> None:
        super().__init__()
        self._visible, self._infrared, self._wanted = visible, infrared, wanted
        shares = np.bincount(visible[visible >= 0], minlength=classes)
        self._shares = shares / shares.sum() if wanted.marginal == "visible" else None
        start = torch.full((len(visible),), OUTLIER)
        if wanted.compat.late:
            start[torch.from_numpy(infrared)] = torch.randint(classes, (len(infrared),))
        self.register_buffer("bank", start)

    def all(self) -> Int64Array:
        """Return the classes of all images, visible ones among them, (N,)."""
        return np.where(self._visible >= 0, self._visible, self.bank.cpu().numpy())

    def renew(self, look: Look, probabilities: Compute) -> PseudoLabels:
        """Label every infrared image.

        Args:
            look: runs the network.
            probabilities: softmax rows of a batch's features, (B, classes).

        Returns:
            Labels of all images.
        """
        return self._assign(self._infrared, look.rows(probabilities, self._infrared))

    def renew_drawn(self, look: Look, probabilities: Compute, draw: Draw) -> PseudoLabels:
        """Label the infrared images that the epoch's batches hold; the others keep what they have.

        Args:
            look: runs the network.
            probabilities: softmax rows of a batch's features, (B, classes).
            draw: what the batches are made of.

        Returns:
            Labels of all images.
        """
        batches = [batch[np.isin(batch, self._infrared)] for batch in look.batches(draw)]
        drawn, place, times = np.unique(np.concatenate(batches), return_inverse=True, return_counts=True)
        if not self._wanted.compat.training_pass:
            return self._assign(drawn, look.rows(probabilities, drawn))
        rows = look.rows_in_training(probabilities, batches)
        sums = np.zeros((len(drawn), rows.shape[1]), np.float64)
        np.add.at(sums, place, rows)
        return self._assign(drawn, (sums / times[:, None]).astype(np.float32))

    def _assign(self, index: Int64Array, answers: Float32Array) -> PseudoLabels:
        device = self.bank.device
        made = self._labelled(torch.from_numpy(answers).to(device))
        self.bank[torch.from_numpy(index).to(device)] = torch.from_numpy(made.labels).to(device)
        labels = self.all()
        confidence = (self._visible >= 0).astype(np.float32)
        confidence[index] = made.confidence
        favourite = np.bincount(answers.argmax(1), minlength=len(made.histogram))
        told = {"histogram": made.histogram.tolist(), "histogram_argmax": favourite.tolist()}
        return PseudoLabels(labels, confidence, labels == OUTLIER, {**made.made, **told})

    def _labelled(self, answers: Tensor) -> Assigned:
        wanted = self._wanted
        if wanted.assignment == "argmax":
            return most_likely(answers)
        return transported(
            answers,
            delta=wanted.delta,
            columns=self._shares,
            stop="published" if wanted.compat.stopping else "marginal",
            max_iterations=wanted.max_iterations,
            tolerance=wanted.tolerance,
        )
