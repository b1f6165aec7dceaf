"""What DANet may be told to do, and what of its authors' related code it may be asked to mimic."""

from typing import Literal

from pydantic import Field

from training.method_settings.part import MethodSettings, Part


class DanetCompat(Part):
    """What MPANet, the related published code of the same authors, does where DANet's equations say otherwise.

    Attributes:
        centres: the centre loss draws images to the centre of their identity over both modalities, and pushes such
            centres apart. Effect: no term looks at one modality's centre alone.
        teachers: each classifier is drawn to a slowly following copy of the other, KL(own || copy), averaged over
            the whole batch. Effect: about half the loss, and no gradient into the other classifier.
        teacher_rate: how much of the classifier its copy takes over at each step.
    """

    centres: bool = False
    teachers: bool = False
    teacher_rate: float = Field(0.2, gt=0, le=1)


class DanetSettings(MethodSettings):
    """Dual-level alignment.

    Attributes:
        name: of the method.
        label_smoothing: of the identity loss.
        cc: the cross-modality centre loss of equation 3: ``literal`` pushes the other modality's centre away from
            other identities' images, as the equation is printed; ``own`` pushes the centre in the images' own
            modality, as the text has it; ``off``.
        cc_weight: lambda_1 of equation 6.
        cc_detached: let no gradient into the centres.
        margin: rho of equation 3.
        ml: whether the two modalities' classifiers learn from each other, equation 5.
        ml_weight: lambda_2 of equation 6.
        sid_weight: of the identity loss of these classifiers, equation 4, which equation 6 leaves out; without it
            nothing ties them to identities, and they agree by saying the same of everybody. Without effect if
            ``ml`` is off.
        compat: what MPANet's code does instead.
    """

    name: Literal["danet"] = "danet"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    cc: Literal["literal", "own", "off"] = "literal"
    cc_weight: float = Field(1.0, ge=0)
    cc_detached: bool = False
    margin: float = Field(0.7, ge=0)
    ml: bool = True
    ml_weight: float = Field(2.5, ge=0)
    sid_weight: float = Field(1.0, ge=0)
    compat: DanetCompat = DanetCompat()
