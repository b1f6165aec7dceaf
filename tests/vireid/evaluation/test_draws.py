"""Gallery draws: the very stream of ``random``, the very order of the official file."""

import random

import numpy as np
import pytest

from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation import draws
from vireid.evaluation.metrics import Labels

# pool in reader's order: (person, camera) -> images
POOL = {(3, 1): 4, (3, 2): 20, (3, 4): 85, (7, 2): 12, (7, 5): 10, (500, 1): 33}


@pytest.fixture
def pool() -> Labels:
    person = [p for (p, _), n in POOL.items() for _ in range(n)]
    camera = [c for (_, c), n in POOL.items() for _ in range(n)]
    return Labels(np.array(person), np.array(camera))


def folders() -> dict[tuple[int, int], list[int]]:
    rows, start = {}, 0
    for key, n in POOL.items():
        rows[key] = list(range(start, start + n))
        start += n
    return rows


def test_groups_are_ascending_and_keep_the_pools_order(pool: Labels) -> None:
    shuffled = np.random.default_rng(3).permutation(len(pool))
    grouped = draws.groups(pool.take(shuffled))
    assert list(grouped) == sorted(POOL)
    for key, rows in grouped.items():
        assert sorted(rows.tolist()) == rows.tolist()
        assert len(rows) == POOL[key]
    assert {k: v.tolist() for k, v in draws.groups(pool).items()} == folders()


def test_groups_of_some_cameras(pool: Labels) -> None:
    assert list(draws.groups(pool, (2, 5))) == [(3, 2), (7, 2), (7, 5)]
    assert draws.groups(pool, (9,)) == {}


@pytest.mark.parametrize("trial", range(10))
@pytest.mark.parametrize("cameras", [(1, 2, 4, 5), (1, 2)])
def test_the_single_draw_is_random_choice(trial: int, cameras: tuple[int, ...], pool: Labels) -> None:
    random.seed(trial)
    seen = [(person, camera) for person in (3, 7, 500) for camera in cameras if (person, camera) in POOL]
    want = [random.choice(folders()[key]) for key in seen]
    assert draws.python_draw(draws.groups(pool, cameras), trial, 1).tolist() == want


@pytest.mark.parametrize("trial", range(10))
def test_the_multi_draw_is_random_sample(trial: int, pool: Labels) -> None:
    random.seed(trial)
    want = []
    for key, rows in folders().items():
        if key != (3, 1):
            want += random.sample(rows, 10)
    grouped = {key: rows for key, rows in draws.groups(pool).items() if key != (3, 1)}
    assert draws.python_draw(grouped, trial, 10).tolist() == want


def test_the_stream_is_the_one_of_every_cpython() -> None:
    """Written out once, so that a change of ``random`` is seen."""
    grouped = draws.groups(Labels(np.repeat([1, 2, 3], 20), np.ones(60, dtype=np.int64)))
    assert draws.python_draw(grouped, 0, 1).tolist() == [12, 33, 41]
    assert draws.python_draw(grouped, 1, 1).tolist() == [4, 38, 42]


def test_a_draw_leaves_the_global_stream_alone(pool: Labels) -> None:
    random.seed(5)
    want = random.random()
    random.seed(5)
    draws.python_draw(draws.groups(pool), 0, 1)
    assert random.random() == want


def test_too_few_images(pool: Labels) -> None:
    message = "identity 3 has 4 images in camera 1 and a draw of 10 needs as many; ask for at most 4 shots"
    with pytest.raises(EvaluationError, match=message):
        draws.python_draw(draws.groups(pool), 0, 10)
    orders = {key: np.tile(np.arange(1, n + 1), (10, 1)) for key, n in POOL.items()}
    with pytest.raises(EvaluationError, match=message):
        draws.official_draw(draws.groups(pool), orders, 1, 10)


def test_the_official_draw_goes_camera_by_camera(pool: Labels) -> None:
    random_ = np.random.default_rng(0)
    orders = {key: np.array([random_.permutation(n) + 1 for _ in range(10)]) for key, n in POOL.items()}
    orders[999, 1] = np.ones((10, 1), dtype=np.int64)  # persons that are not asked for do not matter
    rows = folders()
    for trial in (1, 10):
        want = []
        for camera in (1, 2, 4, 5):
            for person in (3, 7, 500):
                if (person, camera) in POOL:
                    want += [rows[person, camera][i - 1] for i in orders[person, camera][trial - 1][:2]]
        assert draws.official_draw(draws.groups(pool), orders, trial, 2).tolist() == want


def test_the_single_official_draw_is_a_prefix_of_the_multi(pool: Labels) -> None:
    orders = {key: np.tile(np.arange(n, 0, -1), (10, 1)) for key, n in POOL.items()}
    grouped = draws.groups(pool)
    one, three = (draws.official_draw(grouped, orders, 4, shots) for shots in (1, 3))
    assert one.tolist() == three[::3].tolist()


@pytest.mark.parametrize("table", [None, np.ones((10, 5), dtype=np.int64)])
def test_an_order_of_another_copy(table: np.ndarray | None, pool: Labels) -> None:
    orders = {key: np.tile(np.arange(1, n + 1), (10, 1)) for key, n in POOL.items()}
    if table is None:
        del orders[3, 1]
    else:
        orders[3, 1] = table
    with pytest.raises(DatasetError, match="identity 3 has 4 images in camera 1, the official order has"):
        draws.official_draw(draws.groups(pool), orders, 1, 1)


def test_nothing_to_draw_from() -> None:
    assert draws.python_draw({}, 0, 1).tolist() == []
    assert draws.official_draw({}, {}, 1, 1).tolist() == []
