"""The one training loop: epochs, schedule, mixed precision, checkpoints, metrics. Knows no method and no dataset."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training import chance, checkpoint, objective, optimiser, ranks, schedule, shortage
from training.checkpoint import Progress
from training.data import loaders
from training.data.few import Few
from training.data.images import Images
from training.data.loaders import Batch
from training.data.samplers import sampler
from training.data.shares import Share
from training.display import Display
from training.features import Look
from training.grouping import Grouping
from training.journal import Journal
from training.judge import Judge, counted, words
from training.method import Epoch, Method
from training.objective import Objective
from training.ranks import Ranks
from training.settings import RunSettings
from vireid.errors import TrainingError

Evaluate = Callable[[], Mapping[str, Any]]

TEST_CHOSEN = "chosen on the test images, as published code does; no fair score"


@dataclass(frozen=True, slots=True)
class Watch:
    """What looks at a run and has no part in it.

    Attributes:
        evaluate: scores the network by protocol; None to leave it out.
        judge: compares pseudo-labels with the true persons; None where they are unknown.
    """

    evaluate: Evaluate | None = None
    judge: Judge | None = None


class Loop:
    """Trains a method.

    Args:
        run: folder of the run.
        settings: the recipe.
        method: what is minimised.
        images: of the training split.
        watch: what is measured beside the losses.
        workers: the device, and the processes that train together.

    Raises:
        TrainingError: the processes cannot divide a batch between them.
    """

    def __init__(
        self, run: Path, settings: RunSettings, method: Method, images: Images, watch: Watch, workers: Ranks
    ) -> None:
        self._run, self._settings, self._method, self._images = run, settings, method, images
        self._watch, self._workers = watch, workers
        self._share = Share(ranks.place(), ranks.count())
        self._share.demand(settings.data.persons)
        self._optimiser = optimiser.build(method.modules, settings.optimiser)
        self._grouping = Grouping(settings.bn_group) if settings.bn_group else None
        if self._grouping is not None:
            self._grouping.apply(method.modules)
        self._objective: nn.Module | None = None
        self._journal = Journal(run, settings.tensorboard)
        self._few = Few(settings.data, images)
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
            TrainingError: the loss is not finite (the batch's indices are saved beside the checkpoint), the memory
                does not suffice, or the labels do not make batches.
        """
        last = self._settings.epochs if until is None else min(until, self._settings.epochs)
        kept = f"what {self._progress.epoch} whole epochs made is kept"
        if self._progress.step == 0 and self._settings.evaluate_first and self._watch.evaluate is not None:
            with shortage.explained(self._settings, kept):
                self._tell({"epoch": 0, "evaluation": dict(self._watch.evaluate())})
        display = Display(self._settings.epochs, (self._progress.epoch, last), silent=ranks.place() > 0)
        for epoch in range(self._progress.epoch, last):
            kept = f"what {epoch} whole epochs made is kept"
            with shortage.explained(self._settings, kept):
                self._one(epoch, display)
        self._objective = None  # it holds the processes' connection

    def _one(self, epoch: int, display: Display) -> None:
        began = time.monotonic()
        told: dict[str, Any] = {"epoch": epoch + 1, **self._epoch(epoch, display)}
        self._demand_finite()
        told["seconds"] = round(time.monotonic() - began, 3)
        self._progress = Progress(epoch + 1, self._progress.step)
        best = False
        if self._due(epoch + 1) and self._watch.evaluate is not None:
            told["evaluation"] = dict(self._watch.evaluate())
            if self._settings.select == "best_on_test":
                told["selected"] = self._selected(told["evaluation"]["mean"])
                best = bool(told["selected"]["best"])
        # metrics first: a stop in between is an epoch to do again, not one without its line
        self._tell(told)
        if ranks.place() == 0:
            name = self._settings.method.name
            modules = self._method.modules
            checkpoint.save_checkpoint(self._run, modules, self._optimiser, self._progress, name, best=best)
        ranks.wait()

    def _demand_finite(self) -> None:
        """Stop before weights that a finite loss's gradient has ruined take the place of good ones."""
        for name, value in self._method.modules.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise TrainingError(
                    f"the weights {name} are not finite after step {self._progress.step}, though its loss was; what "
                    f"{self._progress.epoch} whole epochs made is kept; start another run with a lower rate, for example "
                    f"--set optimiser.rate={self._settings.optimiser.rate / 10:g}"
                )

    def _selected(self, mean: Mapping[str, float]) -> dict[str, Any]:
        name, value = next(iter(mean.items()))
        before = checkpoint.best(self._run)
        return {"by": name, "value": value, "best": before is None or value > before, "note": TEST_CHOSEN}

    def _tell(self, told: Mapping[str, Any]) -> None:
        if ranks.place() == 0:
            self._journal.tell(told)

    def _due(self, epoch: int) -> bool:
        every = self._settings.evaluate_every
        return epoch == self._settings.epochs or (every > 0 and epoch % every == 0)

    # ---- an epoch --------------------------------------------------------------
    def _epoch(self, epoch: int, display: Display) -> dict[str, Any]:
        settings = self._settings
        chance.begin(settings.seed, epoch, 0)
        look = Look(self._method.network, self._images, settings, epoch)
        plan = self._method.begin_epoch(epoch, look)
        labels = self._labels(plan)
        if labels:
            display.say(epoch, "labels: " + words(labels["labels"], len(self._images.modality)))
        self._few.check(plan.draw)
        batches = sampler(plan.draw, settings)
        chance.begin(settings.seed, epoch, 1 + ranks.place())
        self._method.modules.train()
        sums: dict[str, float] = {}
        waited = shown = 0.0
        began = time.monotonic()
        drawn = loaders.batches(
            self._images, batches, settings.data, epoch=epoch, seed=settings.seed, share=self._share
        )
        # closed whatever happens: its threads end with it
        with closing(drawn), display.epoch(epoch, len(batches)) as tell:
            for number in range(len(batches)):
                asked = time.monotonic()
                batch = next(drawn)
                waited += time.monotonic() - asked
                if number % settings.accumulate == 0:
                    self._set_rate(epoch + number / len(batches))
                whole = (number + 1) % settings.accumulate == 0
                with self._grouped(batch):
                    values = self.step(batch, whole=whole)
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value
                shown += len(batch.index)
                tell(values["total"], len(batch.index))
        spent = time.monotonic() - began
        objective.settle(self._method.modules)
        told: dict[str, Any] = objective.mean({name: total / len(batches) for name, total in sums.items()})
        told |= dict(plan.told) | labels
        told["rate"] = self._optimiser.param_groups[-1]["lr"]
        return told | {"waited": round(waited, 3), "speed": round(shown * ranks.count() / spent, 2)}

    def _labels(self, plan: Epoch) -> dict[str, Any]:
        """Keep the labels of an epoch, and tell of them."""
        if plan.labels is None:
            return {}
        ranks.agree("the labels", plan.labels.sha256)
        if ranks.place() == 0:
            self._journal.keep(plan.labels)
        told = counted(plan.labels, self._images.modality)
        return {"labels": told | ({} if self._watch.judge is None else self._watch.judge(plan.labels))}

    def _grouped(self, batch: Batch) -> AbstractContextManager[None]:
        if self._grouping is None:
            return nullcontext()
        return self._grouping.of(len(batch.index), batch.parts, self._settings.data.images)

    # ---- a batch ---------------------------------------------------------------
    def step(self, batch: Batch, *, whole: bool = True) -> dict[str, float]:
        """Train on one batch.

        Args:
            batch: from a loader.
            whole: step with the gradients added up so far; else only add this batch's.

        Returns:
            The losses by name.

        Raises:
            TrainingError: the loss is not finite.
        """
        device = self._workers.device
        if self._objective is None:
            self._objective = self._workers.wrap(Objective(self._method))
        images, modality, index, view = (
            each.to(device, non_blocking=True)
            for each in (batch.images, batch.modality, batch.index, batch.view)
        )
        batch = Batch(images, modality, index, view, batch.parts)
        with self._workers.holding(self._objective, share=whole):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._settings.amp):
                losses = self._objective(images, modality, index, view, batch.parts)
            values = objective.values(losses)
            if not np.isfinite(values["total"]):
                self._stop(batch, values)
            self._workers.backward(losses["total"] / self._settings.accumulate)
        if whole:
            self._update()
        self._method.after_step(batch)
        return values

    def _update(self) -> None:
        if self._settings.optimiser.clip_norm:
            nn.utils.clip_grad_norm_(self._method.modules.parameters(), self._settings.optimiser.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._progress = Progress(self._progress.epoch, self._progress.step + 1)

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
        optimiser.set_rate(self._optimiser, self._settings.optimiser.rate * share)
