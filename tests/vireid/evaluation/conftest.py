"""The golden vectors: problems whose answers several published evaluators agree on, and what makes them; sets of chance."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vireid.arrays import Float64Array, UInt8Array
from vireid.datasets.split import Dataset, Split
from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence, gather, merge
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case, Measured, measure
from vireid.evaluation.protocols import preset
from vireid.types import Modality, Sample


def load(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden_dir(repository: Path) -> Path:
    return repository / "tests" / "golden"


@pytest.fixture(scope="session")
def golden(golden_dir: Path) -> dict[str, Any]:
    """The answers, and the image counts of the real sets."""
    content: dict[str, Any] = json.loads((golden_dir / "golden_public.json").read_text())
    return content


@pytest.fixture(scope="session")
def recipe(golden_dir: Path) -> ModuleType:
    """What makes the features."""
    return load(golden_dir / "recipe.py")


@pytest.fixture(scope="session")
def reference(golden_dir: Path) -> ModuleType:
    """A slow evaluator."""
    return load(golden_dir / "reference.py")


@pytest.fixture(scope="session")
def official_orders(request: pytest.FixtureRequest) -> Callable[[], Path]:
    """Find SYSU-MM01's file of orders, which is not ours to ship; a test that needs it is skipped without it."""

    def find() -> Path:
        shared: Path = request.getfixturevalue("shared_dir")
        return shared / "golden" / "lists" / "sysu_mm01" / "data_split" / "rand_perm_cam.mat"

    return find


@pytest.fixture(scope="session")
def random_case() -> Callable[..., Case]:
    """Make small test sets of chance: some persons unknown, some queries without a match, both modalities."""

    def make(
        seed: int = 0, n_query: int = 30, n_gallery: int = 50, whole: bool = False, root: str = ""
    ) -> Case:
        random = np.random.default_rng(seed)

        def split(name: str, count: int) -> tuple[Split, Float64Array]:
            person = random.integers(-1, 9, count)
            camera, modality = random.integers(1, 5, count), random.integers(0, 2, count)
            rows = zip(person.tolist(), camera.tolist(), modality.tolist(), strict=True)
            samples = (
                Sample(Path(root) / f"{name}-{n}.png", p, c, Modality(m)) for n, (p, c, m) in enumerate(rows)
            )
            kept = random.standard_normal((count, 6)) + 0.8 * centres[person]
            return Split(name, tuple(samples)), kept

        centres = random.standard_normal((10, 6))
        (query, q), (gallery, g) = split("query", n_query), split("gallery", n_gallery)
        if whole:  # small whole numbers: many equal scores, each exact
            q, g = np.rint(q), np.rint(g)
        else:
            q, g = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, g))
        dataset = Dataset("folder", Path(root), Split("train", ()), query, gallery)
        return Case(dataset, Features(q, g), given=True)

    return make


@pytest.fixture(scope="session")
def run(random_case: Callable[..., Case]) -> Callable[..., tuple[Measured, Evidence]]:
    """Measure a small test set of chance with several drawn galleries, and gather its evidence."""

    def make(
        seed: int = 0, trials: int = 3, synthetic: bool = False, **options: Any
    ) -> tuple[Measured, Evidence]:
        case = random_case(seed)
        if synthetic:
            case = replace(case, dataset=replace(case.dataset, synthetic=True))
        protocol = preset("folder")
        if trials > 1:
            protocol = replace(protocol, draw="python", trials=tuple(range(trials)))
        parts: list[Evidence] = []
        measured = measure(
            replace(protocol, **options), lambda _: case, watch=lambda c, p: parts.append(gather(c, p))
        )
        return measured, merge(parts)

    return make


@pytest.fixture(scope="session")
def album() -> Album:
    """Draw a flat colour for each sample, in shapes that fit no tile."""

    def image(sample: Sample) -> UInt8Array:
        height, width = 20 + sample.camera, 7 + sample.person
        return np.full((height, width, 3), (20 * sample.person + 40, 60 * sample.camera, 128), dtype=np.uint8)

    return Album(image, lambda sample: f"gate {sample.camera}")
