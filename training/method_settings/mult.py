"""What MULT may be told to do, and which habits of its published code it may be asked to mimic."""

from typing import Literal

from pydantic import Field

from training.method_settings.clusters import ClusterSettings
from training.method_settings.part import MethodSettings, Part


class MultCompat(Part):
    """Habits of the published code; all off unless a number is to be compared with it.

    Attributes:
        in_backward: prototypes move while gradients are computed. Effect: of several queries that one step compares with
            a bank, the gradient of the first is computed with prototypes that the others have already moved; no loss
            shows it.
        attached: gradients flow into the refining memory's answers too. Effect: they learn to be sure of what they say,
            right or wrong.
        stopping: the solver stops after at most 500 steps, once its scalings change by less than a tenth, summed over
            all images and looked at every tenth step; the transfer stops once labels change by less than a hundredth
            on average, or after 20 sweeps. Effect: labels a little nearer to those they began with.
    """

    in_backward: bool = False
    attached: bool = False
    stopping: bool = False


class MultSettings(MethodSettings):
    """Label transfer between modalities, two label spaces by turns, and memories that refine each other.

    Attributes:
        name: of the method.
        dcl_epochs: in which each modality learns from its own clusters alone, before labels are transferred.
        temperature: similarities are divided by it.
        momentum: weight of the old value of a prototype.
        clusters: of each modality.
        transfer: of labels: in the ``asymmetric`` order of the published code, the ``symmetric`` one of the paper's
            equation, or ``off``: then it goes on as in the first epochs, which is the ablation.
        alpha: share of the labels a transfer begins with that stays.
        beta: share of its greatest label in an image's target; the rest is soft.
        delta: sharpness of transport plans.
        tolerance: greatest relative error of a plan's marginal.
        max_iterations: of the solver.
        change: the transfer stops once no image's labels change by more in a sweep (sum of absolute values).
        max_sweeps: of the transfer.
        own_weight: of the losses of memories that one modality moves.
        shared_weight: of the losses of the memory that both move.
        refinement_weight: of the cross-memory refinement of the shared memory's answers.
        refinement_temperature: of the refining answers, on top of ``temperature``.
        compat: habits of the published code.
    """

    name: Literal["mult"] = "mult"
    dcl_epochs: int = Field(40, ge=0)
    temperature: float = Field(0.05, gt=0)
    momentum: float = Field(0.1, ge=0, lt=1)
    clusters: ClusterSettings = ClusterSettings()
    transfer: Literal["asymmetric", "symmetric", "off"] = "asymmetric"
    alpha: float = Field(0.2, gt=0, le=1)
    beta: float = Field(0.7, ge=0, le=1)
    delta: float = Field(25.0, gt=0)
    tolerance: float = Field(1e-4, gt=0)
    max_iterations: int = Field(1000, ge=1)
    change: float = Field(1e-3, gt=0)
    max_sweeps: int = Field(100, ge=1)
    own_weight: float = Field(1.0, ge=0)
    shared_weight: float = Field(1.0, ge=0)
    refinement_weight: float = Field(1.0, ge=0)
    refinement_temperature: float = Field(0.2, gt=0)
    compat: MultCompat = MultCompat()

    @property
    def first_phase(self) -> int:
        """Epochs without transfer of labels, as in DCL; 0 if it is off, which is DCL on purpose."""
        return 0 if self.transfer == "off" else self.dcl_epochs
