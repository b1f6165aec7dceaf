"""What SpCL may be told to do, and which habit of its published code it may be asked to mimic."""

from typing import Literal

from pydantic import Field, model_validator

from training.method_settings.part import MethodSettings, Part


class SpclCompat(Part):
    """Habits of the published code; off unless a number is to be compared with it.

    Attributes:
        in_backward: the memory moves while gradients are computed, so those of source images see rows that target
            images of the same batch have moved. Effect: none without a source set, a little noise with one.
    """

    in_backward: bool = False


class SpclSettings(MethodSettings):
    """Self-paced contrastive learning on the visible images, with a labelled visible source set or without.

    Attributes:
        name: of the method.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a memory's row.
        k1: neighbours an image has for the Jaccard distance, itself included.
        k2: of those, the ones its encoding is averaged over.
        eps: greatest distance of neighbours in a cluster.
        gap: by which ``eps`` is smaller and greater for the tight and the loose clusters that judge a cluster.
        min_samples: neighbours that make an image a core one of a cluster, itself included.
        reliability: leave in clusters only those images that tight and loose clusters confirm.
        share: of the clusters that are independent enough in the first epoch; sets the threshold for all epochs.
        spare_last: leave each cluster its last image, as later re-implementations do.
        source_epochs: epochs in which a source set, if there is one, teaches alone before the first clusters are made;
            for starts from weights that tell nothing apart. The published code begins with both.
        compat: habits of the published code.
    """

    name: Literal["spcl"] = "spcl"
    temperature: float = Field(0.05, gt=0)
    momentum: float = Field(0.2, ge=0, lt=1)
    k1: int = Field(30, ge=1)
    k2: int = Field(6, ge=1)
    eps: float = Field(0.6, gt=0, lt=1)
    gap: float = Field(0.02, gt=0)
    min_samples: int = Field(4, ge=1)
    reliability: bool = True
    share: float = Field(0.9, gt=0, le=1)
    spare_last: bool = False
    source_epochs: int = Field(0, ge=0)
    compat: SpclCompat = SpclCompat()

    @model_validator(mode="after")
    def _radii_are_distances(self) -> "SpclSettings":
        if not (self.gap < self.eps and self.eps + self.gap <= 1):
            raise ValueError("eps - gap and eps + gap are radii of distances; expected both between 0 and 1")
        if self.k2 > self.k1:
            raise ValueError("k2 of the k1 neighbours are averaged over; expected k2 <= k1")
        return self
