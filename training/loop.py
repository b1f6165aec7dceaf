"""The one training loop: epochs, schedule, mixed precision, checkpoints, metrics. Knows no method and no dataset."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training import checkpoint, schedule
from training.checkpoint import METRICS, Progress
from training.data import loaders
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.features import Look
from training.method import Method
from training.settings import OptimiserSettings, RunSettings
from vireid import progress
from vireid.errors import TrainingError

Evaluate = Callable[[], Mapping[str, Any]]


class Loop:
    """Trains a method.

    Args:
        run: folder of the run.
        settings: the recipe.
        method: what is minimised.
        images: of the training split.
        evaluate: scores the network by protocol, None to leave it out.
        device: where the network is.
    """

    def __init__(
        self,
        run: Path,
        settings: RunSettings,
        method: Method,
        images: Images,
        *,
        evaluate: Evaluate | None,
        device: torch.device,
    ) -> None:
        self._run, self._settings, self._method, self._images = run, settings, method, images
        self._evaluate, self._device = evaluate, device
        self._optimiser = _optimiser(method.modules, settings.optimiser)
        self._progress = Progress()

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self._progress.epoch

    def resume(self) -> None:
        """Go on from the run's last checkpoint.

        Raises:
            TrainingError: there is none, or it is of another run.
        """
        name = self._settings.method.name
        self._progress = checkpoint.restore(self._run, self._method.modules, self._optimiser, name)

    def train(self, until: int | None = None) -> None:
        """Train to the recipe's last epoch.

        Args:
            until: stop after this epoch instead.

        Raises:
            TrainingError: the loss is not finite; the batch's indices are saved beside the checkpoint.
        """
        last = self._settings.epochs if until is None else min(until, self._settings.epochs)
        if self._progress.step == 0 and self._settings.evaluate_first and self._evaluate is not None:
            self._tell({"epoch": 0, "evaluation": dict(self._evaluate())})
        for epoch in range(self._progress.epoch, last):
            began = time.monotonic()
            told: dict[str, Any] = {"epoch": epoch + 1, **self._epoch(epoch)}
            told["seconds"] = round(time.monotonic() - began, 3)
            self._progress = Progress(epoch + 1, self._progress.step)
            if self._due(epoch + 1) and self._evaluate is not None:
                told["evaluation"] = dict(self._evaluate())
            # metrics first: a stop in between is an epoch to do again, not one without its line
            self._tell(told)
            checkpoint.save_checkpoint(
                self._run, self._method.modules, self._optimiser, self._progress, self._settings.method.name
            )

    def _tell(self, told: Mapping[str, Any]) -> None:
        with (self._run / METRICS).open("a") as file:
            file.write(json.dumps(told) + "\n")

    def _due(self, epoch: int) -> bool:
        every = self._settings.evaluate_every
        return epoch == self._settings.epochs or (every > 0 and epoch % every == 0)

    def _epoch(self, epoch: int) -> dict[str, float]:
        settings = self._settings
        plan = self._method.begin_epoch(epoch, Look(self._method.network, self._images, settings, epoch))
        batches = sampler(plan.draw, settings)
        self._method.modules.train()
        sums: dict[str, float] = {}
        drawn = loaders.batches(self._images, batches, settings.data, epoch=epoch, seed=settings.seed)
        with progress.bar(f"epoch {epoch + 1}/{settings.epochs}", total=len(batches)) as advance:
            for number, batch in enumerate(drawn):
                self._set_rate(epoch + number / len(batches))
                for name, value in self._step(batch).items():
                    sums[name] = sums.get(name, 0.0) + value
                advance(1)
        return {name: total / len(batches) for name, total in sums.items()} | dict(plan.told)

    def _step(self, batch: Batch) -> dict[str, float]:
        batch = Batch(
            batch.images.to(self._device), batch.modality.to(self._device), batch.index.to(self._device)
        )
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.amp):
            losses = self._method.step(batch)
        total = losses["total"]
        if not torch.isfinite(total):
            self._stop(batch, {name: float(value.detach()) for name, value in losses.items()})
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self._settings.optimiser.clip_norm:
            nn.utils.clip_grad_norm_(self._method.modules.parameters(), self._settings.optimiser.clip_norm)
        self._optimiser.step()
        self._method.after_step(batch)
        self._progress = Progress(self._progress.epoch, self._progress.step + 1)
        return {name: float(value.detach()) for name, value in losses.items()}

    def _stop(self, batch: Batch, losses: Mapping[str, float]) -> None:
        path = self._run / "not-finite.json"
        path.write_text(
            json.dumps({"index": batch.index.tolist(), "losses": {k: str(v) for k, v in losses.items()}})
        )
        raise TrainingError(
            f"the loss is {losses['total']} at step {self._progress.step + 1}; the batch is in {path}, and what "
            f"{self._progress.epoch} whole epochs made is kept; a run goes on with the recipe it began with, so start "
            f"another with a lower rate{' or without amp' if self._settings.amp else ''}, for example "
            f"--set optimiser.rate={self._settings.optimiser.rate / 10:g}{' --set amp=false' if self._settings.amp else ''}"
        )

    def _set_rate(self, at: float) -> None:
        share = schedule.share(at, self._settings.schedule, self._settings.epochs)
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.optimiser.rate * share


def _optimiser(modules: nn.ModuleDict, wanted: OptimiserSettings) -> torch.optim.Optimizer:
    learnt = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    if wanted.name == "sgd":
        return torch.optim.SGD(
            learnt, lr=wanted.rate, momentum=0.9, nesterov=True, weight_decay=wanted.weight_decay
        )
    return torch.optim.Adam(learnt, lr=wanted.rate, weight_decay=wanted.weight_decay)
