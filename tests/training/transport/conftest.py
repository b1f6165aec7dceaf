"""Costs that many tests of transport share."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def hard_cost() -> np.ndarray:
    """Sharp predictions of clusters whose sizes are Poisson, against equal shares: (1500, 60)."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((60, 128))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cluster = random.permutation(np.resize(np.repeat(np.arange(60), random.poisson(25, 60)), 1500))
    features = centres[cluster] + random.standard_normal((1500, 128)) / np.sqrt(128)
    logits = 25 * features @ centres.T / np.linalg.norm(features, axis=1, keepdims=True)
    logits -= logits.max(1, keepdims=True)
    cost: np.ndarray = np.log(np.exp(logits).sum(1, keepdims=True)) - logits
    return cost
