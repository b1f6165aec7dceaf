"""The two-stream network: its first stages are a modality's own, the others shared, one embedding.

In evaluation both streams run over the whole batch and each row takes its own, so one exported graph serves any mixture (a
second stem costs about 2 % of ResNet-50, a second whole stream as much again as the network). In training, batch norm of a
stream sees its own modality's rows only.
"""

import torch
from torch import Tensor, nn

from training.models.resnet import STAGES, Backbone, Stem
from training.models.staged import Passed, Staged, passed
from vireid.errors import TrainingError

STREAMS = ("visible", "infrared")


class TwoStream(Staged):
    """A network whose first stages are a modality's own.

    A stream's stem is named ``visible_stem``, its stages of residual blocks, if it has any, stand in ``visible_trunk``.

    Args:
        backbone: what its stages are.
        split: how many stages are a modality's own: 1 is the stem, 3 the stem and two stages of residual blocks,
            5 all; pooling and neck are always shared.
        input_size: (height, width) of the images.
        pooling: a key of ``training.models.heads.POOLING``.
    """

    visible_stem: Stem
    infrared_stem: Stem

    def __init__(self, backbone: Backbone, split: int, input_size: tuple[int, int], pooling: str) -> None:
        if not 1 <= split <= 1 + len(STAGES):
            raise TrainingError(f"a two-stream network was asked to split {split} stages; expected 1 to 5")
        shared = backbone.trunk(STAGES[split - 1 :])
        own: dict[str, nn.Module] = {f"{name}_stem": backbone.stem() for name in STREAMS}
        if split > 1:
            own |= {f"{name}_trunk": backbone.trunk(STAGES[: split - 1]) for name in STREAMS}
        super().__init__(backbone, own, shared, input_size, pooling)
        self.split = split

    def before_trunk(self, x: Tensor, modality: Tensor, *, levels: bool) -> Passed:
        """Pass each image through its modality's stages."""
        if not self.training:
            (visible, seen), (infrared, felt) = (self._stream(name, x, levels=levels) for name in STREAMS)
            choose = modality == 1
            maps = torch.where(choose.view(-1, 1, 1, 1), infrared, visible)
            return maps, [torch.where(choose[:, None], *pair) for pair in zip(felt, seen, strict=True)]
        rows = [(modality == kind).nonzero()[:, 0] for kind in range(len(STREAMS))]
        made = [
            self._stream(name, x[index], levels=levels)
            for name, index in zip(STREAMS, rows, strict=True)
            if len(index)
        ]
        back = torch.argsort(torch.cat(rows))
        means = [torch.cat(level)[back] for level in zip(*(means for _, means in made), strict=True)]
        return torch.cat([maps for maps, _ in made])[back], means

    def _stream(self, name: str, x: Tensor, *, levels: bool) -> Passed:
        stages = [self.get_submodule(f"{name}_stem")]
        if self.split > 1:
            stages += self.get_submodule(f"{name}_trunk").children()
        return passed(stages, x, levels=levels)
