"""MULT's labels: a slow dense reading of the whole procedure, any ratio of clusters, and what each setting changes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import ot
import pytest
import torch
from torch.nn.functional import normalize

from training.labels.by_modality import Clustered, cluster_each
from training.labels.jaccard import distances
from training.method_settings import MultSettings
from training.methods.mult_labels import Space, likely, transferred
from vireid.types import Modality

pytestmark = pytest.mark.usefixtures("one_thread")

V, R = Modality.VISIBLE, Modality.INFRARED
PEOPLE = 10
NEAR = {"k1": 6, "k2": 2, "min_samples": 2}


@dataclass(frozen=True)
class Scene:
    """Unit rows of people in clusters of six, all of them in both modalities."""

    features: np.ndarray
    modality: np.ndarray
    persons: np.ndarray

    def clustered(self, wanted: MultSettings) -> Clustered:
        return cluster_each(self.features, self.modality, wanted.clusters)

    def labels(self, wanted: MultSettings) -> dict[Modality, Space]:
        return transferred(self.features, self.clustered(wanted), wanted)


def scene(visible: int, infrared: int, noise: float = 0.1, outliers: int = 0) -> Scene:
    random = np.random.default_rng(0)
    looks = normalize(torch.randn(PEOPLE, 32, generator=torch.Generator().manual_seed(1))).numpy()
    rows, kinds, who = [], [], []
    for kind, count in ((V, visible), (R, infrared)):
        for cluster in range(count):
            centre = looks[cluster % PEOPLE] + 0.4 * random.normal(size=32) / np.sqrt(32) + 0.2 * int(kind)
            rows.append(centre + noise * random.normal(size=(6, 32)) / np.sqrt(32))
            who += [cluster % PEOPLE] * 6
        rows.append(random.normal(size=(outliers, 32)))
        who += [-1] * outliers
        kinds += [int(kind)] * (6 * count + outliers)
    features = normalize(torch.from_numpy(np.concatenate(rows)).float()).numpy()
    return Scene(features, np.array(kinds, np.int64), np.array(who, np.int64))


def settings(**more: Any) -> MultSettings:
    return MultSettings.model_validate({"clusters": NEAR, **more})


def dense(scene: Scene, wanted: MultSettings) -> dict[Modality, np.ndarray]:
    """The soft labels by matrices of all pairs, POT's plans and a linear system, in double precision."""
    made = scene.clustered(wanted)
    index = {kind: made.index(kind) for kind in Modality}
    rows = {kind: scene.features[places].astype(np.float64) for kind, places in index.items()}
    smooth = {}
    for kind in Modality:
        alike = 1 - distances(made.encoded[kind]).astype(np.float64)
        smooth[kind] = (alike / alike.sum(1, keepdims=True) + np.eye(len(alike))) / 2
    plan = solved(((rows[V][:, None] - rows[R][None]) ** 2).sum(2), wanted.delta)
    take = {V: plan / plan.sum(1, keepdims=True), R: (plan / plan.sum(0)).T}
    found = {}
    for owner, guest in ((V, R), (R, V)):
        of = made.of(owner)
        means = np.stack([scene.features[of == label].mean(0) for label in range(made.count(owner))])
        logits = rows[owner] @ means.T / wanted.temperature
        start = np.exp(logits - logits.max(1, keepdims=True))
        start /= start.sum(1, keepdims=True)
        cost = ((rows[guest][:, None] - means[None]) ** 2).sum(2)
        other = np.eye(len(means))[solved(cost, wanted.delta).argmax(1)]
        a = wanted.alpha
        back = take[guest] @ smooth[owner] if wanted.transfer == "symmetric" else take[guest]
        left = np.eye(len(start)) - (1 - a) ** 2 * take[owner] @ smooth[guest] @ back
        u = a * np.linalg.solve(left, (1 - a) * take[owner] @ smooth[guest] @ other + start)
        soft = np.empty((len(scene.features), len(means)))
        soft[index[owner]] = smooth[owner] @ u
        soft[index[guest]] = smooth[guest] @ ((1 - a) * back @ u + a * other)
        found[owner] = soft
    return found


def solved(cost: np.ndarray, delta: float) -> np.ndarray:
    n, k = cost.shape
    plan: np.ndarray = ot.sinkhorn(
        np.full(n, 1 / n), np.full(k, 1 / k), cost, 1 / delta, "sinkhorn_log", 3000, 1e-8
    )
    return plan


@pytest.mark.parametrize("transfer", ["asymmetric", "symmetric"])
def test_it_is_a_dense_reading_of_the_procedure(transfer: str) -> None:
    drawn = scene(12, 8, noise=0.3, outliers=3)
    wanted = settings(transfer=transfer, change=1e-5, tolerance=1e-6, beta=0.0)
    made = drawn.labels(wanted)
    assert (drawn.clustered(wanted).labels == -1).sum() > 0
    for owner, expected in dense(drawn, wanted).items():
        np.testing.assert_allclose(made[owner].soft, expected, atol=2e-4)
        sure = np.sort(expected, 1)
        clear = sure[:, -1] - sure[:, -2] > 1e-3
        assert clear.mean() > 0.9
        assert (made[owner].hard == expected.argmax(1))[clear].all()


@pytest.mark.parametrize(("visible", "infrared"), [(10, 10), (20, 10), (50, 10), (10, 30)])
def test_labels_at_any_ratio_of_clusters(visible: int, infrared: int) -> None:
    drawn, wanted = scene(visible, infrared), settings()
    clustered = drawn.clustered(wanted)
    assert clustered.count(V) == visible
    assert clustered.count(R) == infrared
    for owner, space in transferred(drawn.features, clustered, wanted).items():
        np.testing.assert_allclose(space.soft.sum(1), 1, atol=1e-5)
        assert len(space.both(drawn.modality)) >= 5
        own = drawn.modality == owner
        # a guest's class is a cluster of its own person
        members = dict(zip(space.hard[own].tolist(), drawn.persons[own].tolist(), strict=True))
        guests = zip(space.hard[~own].tolist(), drawn.persons[~own].tolist(), strict=True)
        assert np.mean([members.get(label) == person for label, person in guests]) > 0.9


def test_what_each_setting_changes() -> None:
    drawn = scene(20, 10, noise=0.3, outliers=5)
    plain = drawn.labels(settings())[V]
    assert plain.soft.max(1).min() >= 0.7
    same = drawn.labels(settings(beta=1.0))[V]
    np.testing.assert_allclose(same.soft, np.eye(20)[plain.hard], atol=1e-6)
    # nothing is handed over: what an owner has is what it began with, smoothed
    alone = drawn.labels(settings(alpha=1.0, beta=0.0))[V]
    assert alone.told["sweeps_visible"] == 2
    assert drawn.labels(settings(max_sweeps=3))[V].told["sweeps_visible"] == 3 < plain.told["sweeps_visible"]
    loose = drawn.labels(settings(compat={"stopping": True}))[V]
    assert loose.told["sweeps_visible"] < plain.told["sweeps_visible"]
    for other in ({"transfer": "symmetric"}, {"delta": 5.0}, {"temperature": 0.5}, {"alpha": 0.9}):
        assert not np.allclose(drawn.labels(settings(**other))[V].soft, plain.soft, atol=1e-3)


def test_a_solver_that_is_stopped_early_says_so(caplog: pytest.LogCaptureFixture) -> None:
    scene(20, 10).labels(settings(max_iterations=1))
    assert "stopped after 1 iterations" in caplog.text


def test_labels_of_the_owner_begin_with_a_softmax_over_its_clusters() -> None:
    rows = np.array([[1, 0], [0.6, 0.8]], np.float32)
    means = np.array([[0.9, 0.1], [0.2, 0.7]], np.float32)
    expected = torch.softmax(torch.from_numpy(rows @ means.T) / 0.05, 1).numpy()
    np.testing.assert_allclose(likely(rows, means, 0.05), expected, atol=1e-6)
