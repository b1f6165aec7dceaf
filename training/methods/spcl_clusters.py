"""SpCL's classes of unlabelled images: clusters of what the memory holds, and of those what can be relied on.

Ge et al., Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID, NeurIPS 2020, section
3.3. Knows no network and no losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.labels import clustering, outliers, reliability
from training.labels.jaccard import Neighbourhood, encode, radius_graph
from training.method_settings import SpclSettings
from vireid.arrays import BoolArray, Float32Array, Int64Array
from vireid.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """What an epoch takes images for.

    Attributes:
        labels: class of each image, from 0; clusters first, then single images, (N,).
        alone: whether an image is the only one of its class, (N,).
        clusters: how many classes have more than one image.
        found: clusters before reliability was asked for.
        threshold: of independence; NaN where reliability is not asked for.
    """

    labels: Int64Array
    alone: BoolArray
    clusters: int
    found: int
    threshold: float


class Clusters(nn.Module):
    """Makes classes, and keeps the threshold that the first ones set in a buffer.

    Args:
        wanted: radii, neighbours, reliability.
    """

    threshold: Tensor

    def __init__(self, wanted: SpclSettings) -> None:
        super().__init__()
        self._wanted = wanted
        self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))

    def make(self, features: Float32Array) -> Classes:
        """Cluster images; what belongs to no cluster is a class of its own.

        Args:
            features: unit rows, (N, D).

        Raises:
            TrainingError: fewer than two clusters; a histogram of distances says which radius would do better.
        """
        wanted = self._wanted
        radii = [wanted.eps] + (
            [wanted.eps - wanted.gap, wanted.eps + wanted.gap] if wanted.reliability else []
        )
        graph = radius_graph(encode(features, Neighbourhood(wanted.k1, wanted.k2)), max(radii))
        middle, *others = clustering.cluster_at(graph, radii, wanted.min_samples).values()
        clustering.demand(middle, graph, wanted.eps, wanted.min_samples)
        found = clustering.count(middle)
        trusted = self._trusted(middle, *others) if wanted.reliability else middle
        sizes = torch.bincount(torch.from_numpy(trusted[trusted != outliers.OUTLIER]), minlength=1).numpy()
        alone = (trusted == outliers.OUTLIER) | (sizes[trusted] == 1)
        trusted[alone] = outliers.OUTLIER
        clusters = clustering.count(trusted)
        if clusters < clustering.LEAST_CLUSTERS:
            raise TrainingError(
                f"of {found} clusters {clusters} can be relied on at a threshold of {float(self.threshold):.3g}; expected "
                f"at least {clustering.LEAST_CLUSTERS}: narrow method.gap ({wanted.gap:g}), raise method.share "
                f"({wanted.share:g}), or set method.reliability=false"
            )
        labels = outliers.settle(trusted, "singleton").labels
        return Classes(labels, alone, clusters, found, float(self.threshold))

    def _trusted(self, middle: Int64Array, tight: Int64Array, loose: Int64Array) -> Int64Array:
        judged = reliability.judge(middle, tight, loose)
        if bool(self.threshold.isnan()):
            self.threshold.fill_(judged.threshold(self._wanted.share))
        return judged.filtered(float(self.threshold), spare_last=self._wanted.spare_last)
