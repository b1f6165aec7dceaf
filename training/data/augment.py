"""Augmentation of training crops, on float tensors 0..255; never at evaluation.

Mirror, pad and crop, random erasing (Zhong et al., AAAI 2020), channel exchange and grey for visible images
(Ye et al., Channel Augmented Joint Learning, ICCV 2021), and for second views of them colour jitter.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.settings import DataSettings

ERASED_SHARE = (0.02, 0.4)
ERASED_ASPECT = (0.3, 3.3)
# what a published erasing with 0, made after normalisation, comes to
MEAN_COLOUR = torch.tensor([0.485, 0.456, 0.406]) * 255
GREY = torch.tensor([0.299, 0.587, 0.114])


def augment(
    images: Tensor,
    modality: Tensor,
    wanted: DataSettings,
    random: Sequence[torch.Generator],
    view: Tensor | None = None,
) -> Tensor:
    """Vary a batch.

    Args:
        images: RGB 0..255, float, (B, H, W, 3).
        modality: 0 visible, 1 infrared, (B,).
        wanted: chances and sizes.
        random: source of chance of each image, B of them.
        view: 1 for the second views of visible images, (B,); None if there are none.

    Returns:
        The same shape.
    """
    second = [0] * len(images) if view is None else view.tolist()
    again = wanted.model_copy(update={"exchange": wanted.second_exchange})
    varied = [
        _one(_jittered(image, wanted.second_jitter, own), True, again, own)
        if other
        else _one(image, kind == 0, wanted, own)
        for image, kind, other, own in zip(images, modality.tolist(), second, random, strict=True)
    ]
    return torch.stack(varied)


def _one(image: Tensor, visible: bool, wanted: DataSettings, random: torch.Generator) -> Tensor:
    if _chance(random) < wanted.flip:
        image = image.flip(1)
    if wanted.pad:
        image = _shift(image, wanted.pad, random)
    if visible:
        draw = _chance(random)
        if draw < wanted.exchange:
            channel = int(torch.randint(3, (1,), generator=random))
            image = image[..., channel : channel + 1].expand(-1, -1, 3).clone()
        elif draw < wanted.exchange + wanted.grey:
            image = (image @ GREY)[..., None].expand(-1, -1, 3).clone()
    if _chance(random) < wanted.erase:
        image = _erase(image, image.mean((0, 1)) if wanted.erase_with == "own" else MEAN_COLOUR, random)
    return image


def _jittered(image: Tensor, strength: float, random: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation, in this order, each by a factor of 1 - strength to 1 + strength."""
    if not strength:
        return image
    for what in ("brightness", "contrast", "saturation"):
        grey = (image @ GREY)[..., None]
        towards = {"brightness": torch.zeros(()), "contrast": grey.mean(), "saturation": grey}[what]
        share = 1 + strength * (2 * _chance(random) - 1)
        image = (towards + share * (image - towards)).clamp(0, 255)
    return image


def _shift(image: Tensor, pad: int, random: torch.Generator) -> Tensor:
    height, width, _ = image.shape
    wide = F.pad(image.permute(2, 0, 1), (pad, pad, pad, pad)).permute(1, 2, 0)
    up, left = (int(place) for place in torch.randint(2 * pad + 1, (2,), generator=random))
    return wide[up : up + height, left : left + width]


def _erase(image: Tensor, colour: Tensor, random: torch.Generator) -> Tensor:
    height, width, _ = image.shape
    share = ERASED_SHARE[0] + (ERASED_SHARE[1] - ERASED_SHARE[0]) * _chance(random)
    aspect = ERASED_ASPECT[0] * (ERASED_ASPECT[1] / ERASED_ASPECT[0]) ** _chance(random)
    tall = min(height, max(1, round((share * height * width * aspect) ** 0.5)))
    wide = min(width, max(1, round((share * height * width / aspect) ** 0.5)))
    up = int(_chance(random) * (height - tall + 1))
    left = int(_chance(random) * (width - wide + 1))
    image = image.clone()
    image[up : up + tall, left : left + wide] = colour
    return image


def _chance(random: torch.Generator) -> float:
    return float(torch.rand(1, generator=random))
