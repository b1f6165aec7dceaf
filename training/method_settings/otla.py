"""What OTLA may be told to do, and which habits of its published code it may be asked to mimic."""

from typing import Literal

from pydantic import Field, model_validator

from training.method_settings.part import MethodSettings, Part


class OtlaCompat(Part):
    """Habits of the published code; all off unless a number is to be compared with it.

    Attributes:
        late: batches are drawn by the labels of the epoch before, and only images of these batches get new ones, from
            the mean of their probabilities; labels begin at random, and in the first epoch infrared images stand
            beside visible ones of other people and are trained as if they were theirs. Effect: labels one epoch
            late, and an epoch of noise.
        training_pass: probabilities come from augmented images in training mode, infrared ones alone, and the pass
            moves the running statistics of batch norm; needs ``late``. Effect: noisier labels, and statistics that
            lean towards infrared.
        stopping: the solver stops when its scalings change by less than a tenth, summed over all images, looked at
            every tenth iteration. ``max_iterations`` is an end all the same, so that a solver that does not settle
            does not hang. Effect: none worth telling at real sizes; shares of classes are off by some percent where
            images are few.
    """

    late: bool = False
    training_pass: bool = False
    stopping: bool = False

    @model_validator(mode="after")
    def _a_pass_needs_batches(self) -> "OtlaCompat":
        if self.training_pass and not self.late:
            raise ValueError("'training_pass' looks at the batches that 'late' draws; switch both on")
        return self


class OtlaSettings(MethodSettings):
    """Optimal-transport label assignment.

    Attributes:
        name: of the method.
        setting: whose persons are known: everybody's, those of visible images, or nobody's; then the labels of
            visible images come from a first stage.
        infrared_weight: of the identity loss of infrared images.
        infrared_triplet_weight: of their triplet loss.
        margin: of the triplet losses, of distances between features as they are.
        discriminator: whether a second network tells modalities apart, and the first learns to deceive it.
        discriminator_weight: of its loss.
        grl_step: added to the counter of the gradient reversal's ramp at each step; it is published as 1 for
            SYSU-MM01 and 5 for RegDB.
        alignment: of predictions: as the published ``code`` has it, as the paper's ``literal`` equations do, or ``off``.
        visible_alignment: weight of KL(p_v || p_vr).
        infrared_alignment: weight of KL(p_rv || p_rr).
        assignment: labels of infrared images come from optimal ``transport``, from the greatest answer
            (``argmax``), or are not made (``off``): then infrared images have no identity losses.
        delta: sharpness of the transport.
        marginal: the share of infrared images each class gets: the same for all (``uniform``), or its share of the
            ``visible`` ones.
        tolerance: greatest relative error of a marginal.
        max_iterations: of the solver.
        compat: habits of the published code.
    """

    name: Literal["otla"] = "otla"
    setting: Literal["supervised", "semi-supervised", "unsupervised"] = "semi-supervised"
    infrared_weight: float = Field(0.1, ge=0)
    infrared_triplet_weight: float = Field(0.5, ge=0)
    margin: float = Field(0.3, ge=0)
    discriminator: bool = True
    discriminator_weight: float = Field(1.0, ge=0)
    grl_step: int = Field(1, ge=1)
    alignment: Literal["code", "literal", "off"] = "code"
    visible_alignment: float = Field(0.1, ge=0)
    infrared_alignment: float = Field(0.5, ge=0)
    assignment: Literal["transport", "argmax", "off"] = "transport"
    delta: float = Field(25.0, gt=0)
    marginal: Literal["uniform", "visible"] = "uniform"
    tolerance: float = Field(1e-6, gt=0)
    max_iterations: int = Field(1000, ge=1)
    compat: OtlaCompat = OtlaCompat()
