"""Vision transformers as one-stream networks: ViT and DINOv2, built by the transformers library without a download.

ViT: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021. DINOv2: Oquab et al., TMLR 2024. As a network of
re-identification: He et al., TransReID, ICCV 2021, section 3.1 (the class token, a batch-norm neck, positions interpolated to
images that are no squares). Knows no losses.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.heads import Neck
from training.models.network import IMAGENET, Embedded, Network, Normalisation
from vireid.errors import MissingExtra, TrainingError

HEAD = 64  # channels of an attention head, in every published size
HALVES = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LEVELS = 4  # of blocks, after the embedded patches
POSITIONS = "embeddings.position_embeddings"

# what published files call the parts of a block, and what the library calls them now; the longer names first
_PUBLISHED = (
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A transformer to be built.

    Attributes:
        family: whose blocks.
        patch: side of a patch in pixels.
        heads: of attention, of 64 channels each.
        depth: blocks.
    """

    family: Literal["vit", "dinov2"]
    patch: int
    heads: int
    depth: int = 12

    @property
    def channels(self) -> int:
        """Of every token."""
        return self.heads * HEAD

    @property
    def normalisation(self) -> Normalisation:
        """Of pixels, as the published weights expect it."""
        return HALVES if self.family == "vit" else IMAGENET

    def scaled(self, width: float, depth: int) -> "Encoder":
        """Change its size.

        Args:
            width: share of the heads.
            depth: blocks, 0 for as many as there are.
        """
        return replace(self, heads=max(1, round(self.heads * width)), depth=depth or self.depth)

    def build(self, size: tuple[int, int]) -> nn.Module:
        """Build it with fresh weights and a position for each patch of an image.

        Args:
            size: (height, width) of the images.

        Raises:
            MissingExtra: the transformers library is not installed.
            TrainingError: an image cannot be cut into patches.
        """
        fits = tuple(max(1, round(side / self.patch)) * self.patch for side in size)
        if fits != size:
            raise TrainingError(
                f"images of {size[0]} x {size[1]} were asked for; expected multiples of a patch, {self.patch} pixels: "
                f"set model.height={fits[0]} model.columns={fits[1]}"
            )
        library = _library()
        shape = {
            "hidden_size": self.channels,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "image_size": list(size),
            "patch_size": self.patch,
        }
        made: nn.Module
        if self.family == "vit":
            shape["intermediate_size"] = 4 * self.channels
            made = library.ViTModel(library.ViTConfig(**shape), add_pooling_layer=False)
        else:
            made = library.Dinov2Model(library.Dinov2Config(**shape, use_mask_token=False))
        made.embeddings = Tokens(made.embeddings)
        return made


ENCODERS: Mapping[str, Encoder] = {
    "vit-tiny16": Encoder("vit", 16, 3),
    "vit-small16": Encoder("vit", 16, 6),
    "vit-base16": Encoder("vit", 16, 12),
    "dinov2-small14": Encoder("dinov2", 14, 6),
    "dinov2-base14": Encoder("dinov2", 14, 12),
}

POOLING: Mapping[str, Callable[[Tensor], Tensor]] = {
    "class": lambda tokens: tokens[:, 0],
    "average": lambda tokens: tokens[:, 1:].mean(1),
    "class-average": lambda tokens: torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1),
}


class Tokens(nn.Module):
    """An image as tokens: the class token and the embedded patches, each with its position.

    The library's own interpolates a square grid of positions at every pass; this one has a position for each patch of its
    images, whatever their shape, so that a graph made of it holds them as they are. Its weights have the library's names.

    Args:
        library: the library's own, whose fresh weights it takes over.
    """

    def __init__(self, library: Any) -> None:
        super().__init__()
        self.cls_token: nn.Parameter = library.cls_token
        self.position_embeddings: nn.Parameter = library.position_embeddings
        self.patch_embeddings: nn.Module = library.patch_embeddings

    def forward(self, pixel_values: Tensor, **_of_other_models: object) -> Tensor:
        """Map images (B, 3, H, W) to tokens (B, 1 + patches, C), the class token first."""
        patches = self.patch_embeddings(pixel_values)
        # by its shape: len() would fix the batch of an exported graph
        tokens = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1).to(patches.dtype), patches], 1)
        return tokens + self.position_embeddings


class VisionTransformer(Network):
    """A transformer that treats both modalities alike.

    Args:
        encoder: which.
        input_size: (height, width) of the images, multiples of a patch.
        pooling: ``class`` takes the class token, ``average`` the mean of the patches, ``class-average`` both side by side.

    Raises:
        MissingExtra: the transformers library is not installed.
        TrainingError: there is no such pooling, or an image cannot be cut into patches.
    """

    def __init__(self, encoder: Encoder, input_size: tuple[int, int], pooling: str) -> None:
        if pooling not in POOLING:
            raise TrainingError(
                f"pooling {pooling!r} is of maps; of a vision transformer's tokens there are {', '.join(POOLING)}: "
                "set model.pooling"
            )
        dim = encoder.channels * (2 if pooling == "class-average" else 1)
        super().__init__(input_size, dim, (1 + LEVELS) * encoder.channels, encoder.normalisation)
        self.trunk = encoder.build(input_size)
        self.pool = POOLING[pooling]
        self.neck = Neck(dim)
        self.grid = (input_size[0] // encoder.patch, input_size[1] // encoder.patch)
        self._levels = [math.ceil(encoder.depth * level / LEVELS) for level in range(1 + LEVELS)]

    def features(self, images: Tensor, _modality: Tensor, *, levels: bool = False) -> Embedded:
        """Compute what the losses need; arguments as for every network.

        Levels are the mean tokens of the embedded patches and of four evenly spaced blocks.
        """
        seen = self.trunk(pixel_values=self.normalised(images), output_hidden_states=levels)
        pooled = self.pool(seen.last_hidden_state.float())
        if not levels:
            return Embedded(pooled, self.neck(pooled))
        means = [seen.hidden_states[level].float().mean(1) for level in self._levels]
        return Embedded(pooled, self.neck(pooled), torch.cat(means, 1))

    def fitted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Bring standard weights to the library's present names, and their square grid of positions to this network's."""
        own = self.trunk.state_dict()
        found = {_present(name, own): value for name, value in weights.items()}
        if POSITIONS in found:
            found[POSITIONS] = _resized(found[POSITIONS], self.grid)
        return found


def _present(name: str, own: Mapping[str, object]) -> str:
    """Turn the name of a weight in a published file into that of the same weight among a model's own."""
    name = name.removeprefix("vit.").removeprefix("dinov2.")
    if name in own:
        return name
    for published, present in _PUBLISHED:
        if f".{published}." in name:
            name = name.replace(published, present)
            break
    return name if name in own else name.removeprefix("encoder.").replace("layer.", "layers.", 1)


def _resized(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate positions (1, 1 + G * G, C) to a grid; those of no square grid stay, for their shape to be checked."""
    if positions.dim() != 3:
        return positions
    side = math.isqrt(positions.shape[1] - 1)
    if side**2 != positions.shape[1] - 1 or (side, side) == grid or not side:
        return positions
    square = positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    # as the library does it, so that the same weights give the same class token
    made = F.interpolate(square, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1].float(), made.flatten(2).transpose(1, 2)], 1)


def _library() -> Any:
    try:
        import transformers  # seconds
    except ImportError as error:
        raise MissingExtra(
            "a vision transformer needs the transformers library; run: pip install 'vireid[vit]'"
        ) from error
    return transformers
