"""A network for visible images, kept as it is, with an infrared side grown onto it.

Holds ``BridgedNet``: infrared rows pass through small residual adapters, visible rows do not, so that the
visible embeddings stay those of the network one started from; each modality is centred on its own mean.
Knows no losses and no data.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.openvino_ir import Edit, OpenVinoNet


class Adapter(nn.Module):
    """A bottleneck added to a map of infrared rows; it begins as nothing.

    Args:
        channels: of the map.
        rank: channels of the bottleneck.
    """

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, rank, 1)
        self.mix = nn.Conv2d(rank, rank, 3, padding=1, groups=rank)
        self.up = nn.Conv2d(rank, channels, 1)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, infrared: Tensor) -> Tensor:
        """Return x (B, C, H, W), changed in the rows where ``infrared`` (B, 1, 1, 1) is 1."""
        made: Tensor = self.up(F.relu(self.mix(self.down(x))))
        return x + infrared * made


class BridgedNet(nn.Module):
    """A frozen visible network, infrared adapters, and one centre per modality.

    Args:
        trunk: takes RGB images of its own size, gives (B, D).
        rank: of the adapters at the residual blocks' outputs; 0 grows none.
    """

    centres: Tensor

    def __init__(self, trunk: OpenVinoNet, rank: int = 0) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(requires_grad=False)
        self.input_size = (trunk.input_shape[1], trunk.input_shape[2])
        self.dim = trunk.output_shape[0]
        places = trunk.residual_outputs if rank else []
        self.adapters = nn.ModuleDict({number: Adapter(channels, rank) for number, channels in places})
        self.turn = nn.Linear(self.dim, self.dim, bias=False) if rank else None
        if self.turn is not None:
            nn.init.zeros_(self.turn.weight)
        self.register_buffer("centres", torch.zeros(2, self.dim))

    def forward(self, images: Tensor, modality: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: RGB, uint8, (B, H, W, 3).
            modality: 0 visible, 1 infrared, int64, (B,).

        Returns:
            Unit rows, (B, D).
        """
        return F.normalize(self.uncentred(images, modality) - self.centres.index_select(0, modality))

    def uncentred(self, images: Tensor, modality: Tensor) -> Tensor:
        """Unit rows (B, D) before each modality's centre is taken off."""
        x = images.permute(0, 3, 1, 2).to(self.centres.dtype)
        infrared = modality.to(self.centres.dtype).view(-1, 1, 1, 1)
        embedded: Tensor = self.trunk(x, self._edits(infrared))
        if self.turn is not None:
            embedded = embedded + infrared.flatten(1) * self.turn(embedded)
        return F.normalize(embedded)

    def _edits(self, infrared: Tensor) -> Mapping[str, Edit]:
        def edit(adapter: nn.Module) -> Edit:
            return lambda x: adapter(x, infrared)

        return {number: edit(adapter) for number, adapter in self.adapters.items()}
