"""Sources of chance, each a function of a seed and of what it is for: what they draw depends on nothing drawn before."""

import random
from collections.abc import Iterable

import numpy as np
import torch


def begin(seed: int, epoch: int, stage: int) -> None:
    """Begin all global sources of chance anew.

    Args:
        seed: of the run.
        epoch: from 0.
        stage: 0 for making labels, 1 and the number of a process for training.
    """
    words = np.random.SeedSequence([seed, epoch, stage]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002 - libraries that use the global one
    torch.manual_seed(int(words[2]))


def of_rows(seed: int, epoch: int, batch: int, rows: Iterable[int]) -> list[torch.Generator]:
    """Make a source of chance for each row of a batch, the same whoever works on which rows.

    Args:
        seed: of the run.
        epoch: from 0.
        batch: its number in the epoch.
        rows: their places in the batch.
    """
    places = list(rows)
    # words of one sequence: the word of a row is the same however many are asked for
    words = np.random.SeedSequence([seed, epoch, batch]).generate_state(max(places, default=0) + 1)
    return [torch.Generator().manual_seed(int(words[place])) for place in places]
