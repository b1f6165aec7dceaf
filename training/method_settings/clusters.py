"""How images are clustered, for every method that clusters each modality by itself. Knows no method."""

from typing import Literal

from pydantic import Field, model_validator

from training.method_settings.part import Part


class ClusterSettings(Part):
    """DBSCAN on the k-reciprocal Jaccard distance, in each modality by itself.

    Attributes:
        k1: neighbours an image has for the Jaccard distance, itself included.
        k2: of those, the ones its encoding is averaged over.
        eps: greatest distance of neighbours in a cluster; published as 0.6 for SYSU-MM01 and 0.3 for RegDB.
        min_samples: neighbours that make an image a core one of a cluster, itself included.
        neighbours: whom an image's neighbours are sought among: images of its ``own`` modality, or ``balanced``: one half
            each among those of either (Modality-Aware Bias Mitigation and Invariance Learning for Unsupervised
            Visible-Infrared Person Re-Identification, AAAI 2026). Clusters have images of one modality in any case.
    """

    k1: int = Field(30, ge=1)
    k2: int = Field(6, ge=1)
    eps: float = Field(0.6, gt=0, le=1)
    min_samples: int = Field(4, ge=1)
    neighbours: Literal["own", "balanced"] = "own"

    @model_validator(mode="after")
    def _averaged_over_some_of_them(self) -> "ClusterSettings":
        if self.k2 > self.k1:
            raise ValueError("k2 of the k1 neighbours are averaged over; expected k2 <= k1")
        return self
