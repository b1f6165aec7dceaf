"""What MIOT may be told to do; every choice its paper leaves open is an option here."""

from typing import Literal

from pydantic import Field, model_validator

from training.method_settings.clusters import ClusterSettings
from training.method_settings.part import MethodSettings, Part


class MatchingSettings(Part):
    """How the clusters of the modalities are matched: optimal-transport prototype assignment.

    The paper says: similarities of prototypes brought to 0..1, a uniform prior, and an opposite transport for visible
    prototypes that no infrared one chose. Sharpness, solver, cross classes and least mass are this re-implementation's.

    Attributes:
        way: ``transport``; ``nearest``: each takes the most similar one, without a prior; ``off``: nothing is matched,
            and what is left is DCL with a discriminator.
        delta: sharpness of the transport, as in OTLA.
        opposite: match visible clusters that no infrared one chose to the infrared one they get most from; else they
            stay unmatched.
        cross: which clusters are one class: all that hang together by matches (``components``), or each visible cluster
            and the infrared ones that chose it (``demand``), so that visible clusters of one person stay apart.
        min_mass: drop a match whose share of what it could transport at most is smaller; for people who were seen in
            one modality only.
        prototypes: a cross class's prototype is the mean of its clusters' (``clusters``) or of all of its images
            (``images``).
        unmatched: images of unmatched clusters are drawn, each modality by itself, and learnt from within their modality
            (``apart``); or they are left out, and every batch shows the same classes in both (``left_out``).
        tolerance: greatest relative error of a marginal.
        max_iterations: of the solver.
    """

    way: Literal["transport", "nearest", "off"] = "transport"
    delta: float = Field(25.0, gt=0)
    opposite: bool = True
    cross: Literal["components", "demand"] = "components"
    min_mass: float = Field(0.0, ge=0, le=1)
    prototypes: Literal["clusters", "images"] = "clusters"
    unmatched: Literal["apart", "left_out"] = "apart"
    tolerance: float = Field(1e-6, gt=0)
    max_iterations: int = Field(1000, ge=1)

    @model_validator(mode="after")
    def _a_mass_needs_a_transport(self) -> "MatchingSettings":
        if self.way == "nearest" and self.min_mass:
            raise ValueError("min_mass is a share of a transport; set way=transport or min_mass=0")
        return self


class MiotCompat(Part):
    """Habits of the code of related methods; off unless a number is to be compared with theirs.

    Attributes:
        in_backward: prototypes move while gradients are computed. Effect: of several losses on one bank, the earlier ones'
            gradients are computed with prototypes that the later ones have already moved; no loss shows it.
    """

    in_backward: bool = False


class MiotSettings(MethodSettings):
    """Mutual information guided optimal transport.

    The paper names the losses and prints no weights, temperature, momentum or number of epochs of the first phase: those
    are this re-implementation's, after OTLA by the same authors and after DCL.

    Attributes:
        name: of the method.
        warmup_epochs: in which modalities learn by themselves, as in DCL, before they are matched.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a prototype.
        update: of prototypes: by ``instance``, one query after another; by the ``batch_mean`` of a class's queries;
            or by the ``hardest`` of them.
        views: with two visible views (``data.views=2``) their losses are ``added``, as in DCL, or ``averaged``.
        visible_weight: of VCL: visible images against visible prototypes.
        infrared_weight: of ICL: infrared images against infrared prototypes.
        cross_weight: of CCL: both against the prototypes of cross classes.
        mutual_weight: of MCL: each against the matched prototype of the other modality.
        visible_alignment: of CPAL, prediction alignment as in OTLA: weight of KL(p_v || p_vr).
        infrared_alignment: weight of KL(p_rv || p_rr).
        alignment: as OTLA's published ``code`` has it, as its paper's ``literal`` equations do, or ``off``.
        discriminator: whether a second network tells modalities apart, and the first learns to deceive it (the discrepancy
            elimination network).
        discriminator_weight: of its loss.
        grl_step: added to the counter of the gradient reversal's ramp at each step.
        clusters: of each modality.
        matching: of the clusters of both.
        compat: habits of the code of related methods.
    """

    name: Literal["miot"] = "miot"
    warmup_epochs: int = Field(50, ge=0)
    temperature: float = Field(0.05, gt=0)
    momentum: float = Field(0.1, ge=0, lt=1)
    update: Literal["instance", "batch_mean", "hardest"] = "instance"
    views: Literal["added", "averaged"] = "added"
    visible_weight: float = Field(1.0, ge=0)
    infrared_weight: float = Field(1.0, ge=0)
    cross_weight: float = Field(1.0, ge=0)
    mutual_weight: float = Field(1.0, ge=0)
    visible_alignment: float = Field(0.1, ge=0)
    infrared_alignment: float = Field(0.5, ge=0)
    alignment: Literal["code", "literal", "off"] = "code"
    discriminator: bool = True
    discriminator_weight: float = Field(1.0, ge=0)
    grl_step: int = Field(1, ge=1)
    clusters: ClusterSettings = ClusterSettings()
    matching: MatchingSettings = MatchingSettings()
    compat: MiotCompat = MiotCompat()

    @property
    def first_phase(self) -> int:
        """Epochs without matching, as in DCL with a discriminator; 0 if it is off, which is that on purpose."""
        return 0 if self.matching.way == "off" else self.warmup_epochs
