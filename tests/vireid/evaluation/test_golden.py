"""The evaluation against golden vectors: problems whose answers several published evaluators agree on.

tests/golden holds the answers and the recipe of the features. The official draw's own orders belong to the
dataset's owners: what needs them (``official_mat``) is skipped where they are not at hand.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vireid.datasets import sysu
from vireid.datasets.split import Dataset, Split
from vireid.evaluation import draws, protocols
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.features import Features
from vireid.evaluation.metrics import CmcLevel, Labels, Rule, scores
from vireid.evaluation.protocol import Draw
from vireid.evaluation.result import Result
from vireid.types import Modality, Sample

RANKS = (1, 5, 10, 20)
TOLERANCE = 1e-9
VISIBLE, INFRARED = 0, 1


@dataclass
class Problem:
    """A golden data set: its pool of images and their integer features."""

    pool: np.ndarray
    features: np.ndarray

    def side(self, modality: int) -> tuple[np.ndarray, tuple[Sample, ...]]:
        rows = np.flatnonzero(self.pool[:, 3] == modality)
        samples = tuple(
            Sample(Path(f"{p}/{c}/{i}"), int(p), int(c), Modality(modality))
            for _, p, c, _, i in self.pool[rows].tolist()
        )
        return rows, samples

    def dataset(
        self, name: str, root: Path, trial: int = 0, persons: Sequence[int] = ()
    ) -> tuple[Dataset, Any]:
        """Return the dataset and, by modality, its pool rows; ``persons`` picks and orders identities."""
        rows, sides = {}, {}
        place = {person: i for i, person in enumerate(persons)}
        for modality in (VISIBLE, INFRARED):
            r, samples = self.side(modality)
            keep = [i for i, s in enumerate(samples) if not place or s.person in place]
            keep.sort(key=lambda i, s=samples: place.get(s[i].person, 0))
            rows[modality], sides[modality] = r[keep], tuple(samples[i] for i in keep)
        dataset = Dataset(
            name,
            root,
            Split("train", ()),
            Split("query", sides[INFRARED]),
            Split("gallery", sides[VISIBLE]),
            trial,
        )
        return dataset, rows

    def vectors(self, rows: Any, unit: bool = False) -> Features:
        f = self.features.astype(np.float64)
        if unit:
            f = f / np.sqrt((f * f).sum(1, keepdims=True))
        return Features(f[rows[INFRARED]], f[rows[VISIBLE]])


@pytest.fixture(scope="module")
def problem(recipe: ModuleType, golden: dict[str, Any]) -> Callable[[str], Problem]:
    made: dict[str, Problem] = {}

    def make(kind: str) -> Problem:
        if kind not in made:
            family = kind.split("_")[0]
            pool = recipe.pool(family, golden["structure"][kind])
            features = recipe.features(family, pool, golden["seed"])
            assert recipe.digest(features) == golden["sha256"][kind]
            made[kind] = Problem(pool, features)
        return made[kind]

    return make


def sha16(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()[:16]


def check(result: Result, expected: list[dict[str, Any]]) -> None:
    assert len(result.trials) == len(expected)
    for trial, want in zip(result.trials, expected, strict=True):
        assert trial.scores.n_valid == want["n_valid"]
        assert [int(trial.scores.hits[r - 1]) for r in RANKS] == want["hits"]
        assert trial.scores.mean_ap == pytest.approx(want["mAP"], abs=TOLERANCE)
        assert trial.scores.mean_inp == pytest.approx(want["mINP"], abs=TOLERANCE)


def check_mean(result: Result, want: dict[str, Any]) -> None:
    assert result.mean.mean_ap == pytest.approx(want["mAP"], abs=TOLERANCE)
    assert result.mean.mean_inp == pytest.approx(want["mINP"], abs=TOLERANCE)
    found = [float(result.mean.cmc[r - 1]) for r in RANKS]
    assert found == pytest.approx(want["cmc"], abs=TOLERANCE)


def write_permutations(recipe: ModuleType, problem: Problem, seed: int, path: Path) -> None:
    """Write the golden's stand-in orders in the form of the official file."""
    tables = recipe.permutations(problem.pool, seed)
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        cell = np.empty((int(problem.pool[:, 1].max()), 1), dtype=object)
        for person in range(1, len(cell) + 1):
            orders = [t[person, camera] for t in tables if (person, camera) in t]
            cell[person - 1, 0] = np.array(orders, dtype=np.uint8) if orders else np.zeros((10, 0), np.uint8)
        cameras[camera - 1, 0] = cell
    path.parent.mkdir(parents=True)
    savemat(path, {"rand_perm_cam": cameras})


SYSU = [
    (kind, f"{mode}_{shots}", draw)
    for kind in ("sysu", "sysu_anomalous")
    for mode in ("all", "indoor")
    for shots in ("single", "multi")
    for draw in ("python", "perm", "official_mat")
    if not (kind == "sysu_anomalous" and draw == "official_mat")
]


@pytest.mark.parametrize(("kind", "setting", "draw"), SYSU)
def test_sysu(
    kind: str,
    setting: str,
    draw: str,
    golden: dict[str, Any],
    official_orders: Callable[[], Path],
    recipe: ModuleType,
    problem: Callable[[str], Problem],
    tmp_path: Path,
) -> None:
    want = golden[kind][setting][draw]
    data = problem(kind)
    place = tmp_path / "exp" / "rand_perm_cam.mat"
    if draw == "perm":
        write_permutations(recipe, data, golden["perm_seed"], place)
    elif draw == "official_mat":
        place.parent.mkdir()
        shutil.copy(official_orders(), place)
    mode, word = setting.split("_")
    dataset, rows = data.dataset("sysu-mm01", tmp_path)
    way: Draw = "python" if draw == "python" else "official"
    protocol = protocols.sysu_mm01(mode, {"single": 1, "multi": 10}[word], way)
    result = evaluate(data.vectors(rows), dataset, protocol)
    assert [t.n_gallery for t in result.trials] == [want["n_gallery"]] * 10
    check(result, want["ip_trials"])
    check_mean(result, want["ip_mean"])
    if "cos_trials" in want:
        result = evaluate(data.vectors(rows, unit=True), dataset, protocol)
        check(result, want["cos_trials"])
        check_mean(result, want["cos_mean"])


def test_sysu_first_queries(
    golden: dict[str, Any], problem: Callable[[str], Problem], tmp_path: Path
) -> None:
    data = problem("sysu")
    dataset, rows = data.dataset("sysu-mm01", tmp_path)
    result = evaluate(data.vectors(rows), dataset, protocols.sysu_mm01(trials=1))
    queries, want = (
        result.trials[0].scores.queries,
        golden["sysu"]["all_single"]["python"]["trial0_first20_queries"],
    )
    assert queries.ap[:20].tolist() == pytest.approx(want["ap"], abs=1e-12)
    assert queries.first[:20].tolist() == want["identity_rank_of_first_match"]


@pytest.mark.parametrize("setting", ["all_single", "indoor_single", "all_multi", "indoor_multi"])
def test_python_draw(setting: str, golden: dict[str, Any], problem: Callable[[str], Problem]) -> None:
    data = problem("sysu")
    rows, samples = data.side(VISIBLE)
    mode, word = setting.split("_")
    pool = Labels(np.array([s.person for s in samples]), np.array([s.camera for s in samples]))
    grouped = draws.groups(pool, protocols.sysu_mm01(mode).cameras)
    found = [sha16(rows[draws.python_draw(grouped, t, {"single": 1, "multi": 10}[word])]) for t in range(10)]
    assert found == golden["sysu"][setting]["python"]["gallery_rows_sha256_16"]


@pytest.mark.parametrize("setting", ["all_single", "indoor_single", "all_multi", "indoor_multi"])
def test_official_draw(
    setting: str,
    golden: dict[str, Any],
    official_orders: Callable[[], Path],
    problem: Callable[[str], Problem],
    tmp_path: Path,
) -> None:
    rows, samples = problem("sysu").side(VISIBLE)
    mode, word = setting.split("_")
    pool = Labels(np.array([s.person for s in samples]), np.array([s.camera for s in samples]))
    grouped = draws.groups(pool, protocols.sysu_mm01(mode).cameras)
    (tmp_path / "exp").mkdir()
    shutil.copy(official_orders(), tmp_path / "exp")
    orders = sysu.permutations(tmp_path)
    shots = {"single": 1, "multi": 10}[word]
    found = [sha16(rows[draws.official_draw(grouped, orders, t, shots)]) for t in range(1, 11)]
    assert found == golden["sysu"][setting]["official_mat"]["gallery_rows_sha256_16"]


@pytest.mark.parametrize(
    ("modality", "setting"), [(VISIBLE, "ir_to_vis"), (INFRARED, "vis_to_ir_v1_full_queries")]
)
def test_llcm_draw(
    modality: int, setting: str, golden: dict[str, Any], problem: Callable[[str], Problem]
) -> None:
    rows, samples = problem("llcm").side(modality)
    pool = Labels(np.array([s.person for s in samples]), np.array([s.camera for s in samples]))
    grouped = draws.groups(pool)
    found = [sha16(rows[draws.python_draw(grouped, t, 1)]) for t in range(10)]
    assert found == golden["llcm"][setting]["sampled_rows_sha256_16"]


@pytest.mark.parametrize(
    ("mode", "setting"),
    [
        ("ir2vis", "ir_to_vis"),
        ("vis2ir_v1", "vis_to_ir_v1_full_queries"),
        ("vis2ir_v2", "vis_to_ir_v2_sampled_queries"),
    ],
)
def test_llcm(
    mode: str, setting: str, golden: dict[str, Any], problem: Callable[[str], Problem], tmp_path: Path
) -> None:
    data, want = problem("llcm"), golden["llcm"][setting]
    dataset, rows = data.dataset("llcm", tmp_path)
    result = evaluate(data.vectors(rows), dataset, protocols.llcm_search(mode))
    assert {(t.scores.n_query, t.n_gallery) for t in result.trials} == {(want["n_query"], want["n_gallery"])}
    check(result, want["ip_trials"])
    check_mean(result, want["ip_mean"])
    result = evaluate(data.vectors(rows, unit=True), dataset, protocols.llcm_search(mode, trials=3))
    check(result, want["cos_trials_0_to_2"])


REGDB = (
    ("ip_trials_image_cmc", "image", False),
    ("ip_trials_identity_cmc_mpanet_style", "identity", False),
    ("cos_trials_image_cmc", "image", True),
)


@pytest.mark.parametrize("direction", ["visible-to-thermal", "thermal-to-visible"])
@pytest.mark.parametrize(("answer", "level", "unit"), REGDB)
def test_regdb(
    direction: str,
    answer: str,
    level: CmcLevel,
    unit: bool,
    golden: dict[str, Any],
    recipe: ModuleType,
    problem: Callable[[str], Problem],
    tmp_path: Path,
) -> None:
    data, want = problem("regdb"), golden["regdb"][direction.replace("-", "_")]
    for trial in range(1, 11):
        dataset, rows = data.dataset("regdb", tmp_path, trial, recipe.regdb_split(golden["seed"], trial))
        protocol = protocols.regdb_split(direction, trial, cmc=level)
        result = evaluate(data.vectors(rows, unit), dataset, protocol)
        assert [t.n_gallery for t in result.trials] == [want["n_gallery"]]
        check(result, [want[answer][trial - 1]])


@pytest.mark.parametrize("relabelled", [True, False])
def test_market_rule_on_sysu(
    relabelled: bool, golden: dict[str, Any], problem: Callable[[str], Problem]
) -> None:
    data = problem("sysu")
    (v, visible), (i, infrared) = data.side(VISIBLE), data.side(INFRARED)
    gallery = Labels(np.array([s.person for s in visible]), np.array([s.camera for s in visible]))
    drawn = draws.python_draw(draws.groups(gallery, (1, 2, 4, 5)), 0, 1)
    camera = np.array([2 if relabelled and s.camera == 3 else s.camera for s in infrared])
    similarity = data.features[i].astype(float) @ data.features[v[drawn]].astype(float).T
    found = scores(
        similarity,
        Labels(np.array([s.person for s in infrared]), camera),
        gallery.take(drawn),
        "market",
        "image",
    )
    want = golden["sysu"]["same_pid_same_cam_rule_image_cmc_all_single_python_trial0"]
    want = want["cam3_relabelled_2" if relabelled else "raw_cams"]
    assert (found.n_valid, [int(found.hits[r - 1]) for r in RANKS]) == (want["n_valid"], want["hits"])
    assert (found.mean_ap, found.mean_inp) == pytest.approx((want["mAP"], want["mINP"]), abs=TOLERANCE)


# golden answer -> rule and level
SMALL_TIES: dict[str, tuple[Rule, CmcLevel]] = {
    "sysu": ("sysu", "identity"),
    "llcm_rule_same_pid_same_cam": ("market", "identity"),
    "market": ("market", "image"),
    "no_exclusion_identity_cmc": ("none", "identity"),
    "no_exclusion_image_cmc": ("none", "image"),
}


@pytest.mark.parametrize("answer", SMALL_TIES)
def test_small_ties(answer: str, golden: dict[str, Any]) -> None:
    problems = golden["small_ties"]["problems"]
    assert len(problems) == 12
    rule, level = SMALL_TIES[answer]
    for case in problems:
        want = case["results"][answer]
        camera = np.array(case["q_camids"])
        camera = np.where(camera == 3, 2, camera) if rule == "market" else camera
        found = scores(
            -np.array(case["dist"], dtype=float),
            Labels(np.array(case["q_pids"]), camera),
            Labels(np.array(case["g_pids"]), np.array(case["g_camids"])),
            rule,
            level,
        )
        assert (found.n_valid, [int(found.hits[r - 1]) for r in RANKS]) == (want["n_valid"], want["hits"])
        assert (found.mean_ap, found.mean_inp) == pytest.approx((want["mAP"], want["mINP"]), abs=1e-12)
