"""Which images a trial's gallery holds: the field's two ways of drawing a few per person and camera.

The python draw is that of AGW and its many descendants, the official draw that of the SYSU-MM01 authors'
MATLAB code; they give different galleries, so scores agree only within sampling noise. Knows no features and
no scores.
"""

import random
from collections.abc import Sequence

import numpy as np

from vireid.arrays import Int64Array
from vireid.datasets.sysu import Permutations
from vireid.errors import DatasetError, EvaluationError
from vireid.evaluation.metrics import Labels

Groups = dict[tuple[int, int], Int64Array]  # (person, camera) -> rows of the pool, in the pool's order


def groups(pool: Labels, cameras: Sequence[int] = ()) -> Groups:
    """Group the rows of a pool by person and camera, both ascending; no cameras means all of them."""
    order = np.lexsort((pool.camera, pool.person))  # stable: rows of a group keep their order
    if cameras:
        order = order[np.isin(pool.camera[order], np.array(cameras, dtype=np.int64))]
    person, camera = pool.person[order], pool.camera[order]
    cuts = np.flatnonzero((np.diff(person) != 0) | (np.diff(camera) != 0)) + 1
    parts = np.split(order, cuts) if len(order) else []
    return {(int(pool.person[rows[0]]), int(pool.camera[rows[0]])): rows for rows in parts}


def python_draw(grouped: Groups, trial: int, shots: int) -> Int64Array:
    """Draw as ``random.seed(trial)`` and ``random.choice`` or ``random.sample`` do.

    Persons ascending, inside a person the cameras ascending; one choice (or one sample of ``shots``) for each
    camera that saw the person. CPython 3.2 and later give the same stream everywhere.

    Args:
        grouped: rows by person and camera.
        trial: the seed, 0 to 9 in the literature.
        shots: images per person and camera.

    Returns:
        Rows of the pool, in drawn order.

    Raises:
        EvaluationError: a person has fewer images than ``shots`` in a camera.
    """
    stream = random.Random(trial)
    drawn: list[int] = []
    for key, rows in grouped.items():
        _enough(key, len(rows), shots)
        files = rows.tolist()
        drawn += [stream.choice(files)] if shots == 1 else stream.sample(files, shots)
    return np.array(drawn, dtype=np.int64)


def official_draw(grouped: Groups, permutations: Permutations, trial: int, shots: int) -> Int64Array:
    """Draw the first ``shots`` images of the official order: cameras outermost, persons ascending inside.

    Args:
        grouped: rows by person and camera.
        permutations: the orders of ``rand_perm_cam.mat``, counted from 1.
        trial: 1 to 10.
        shots: images per person and camera.

    Returns:
        Rows of the pool, in drawn order.

    Raises:
        DatasetError: the orders do not fit the images that are there.
        EvaluationError: a person has fewer images than ``shots`` in a camera.
    """
    drawn = []
    for key in sorted(grouped, key=lambda k: (k[1], k[0])):
        rows = grouped[key]
        table = permutations.get(key)
        expected = 0 if table is None else table.shape[1]
        if table is None or expected != len(rows):
            raise DatasetError(
                f"identity {key[0]} has {len(rows)} images in camera {key[1]}, the official order has "
                f"{expected}; the dataset copy is not the published one: run vireid data verify"
            )
        _enough(key, len(rows), shots)
        drawn.append(rows[table[trial - 1, :shots] - 1])
    return np.concatenate(drawn) if drawn else np.zeros(0, dtype=np.int64)


def _enough(key: tuple[int, int], have: int, shots: int) -> None:
    if have < shots:
        raise EvaluationError(
            f"identity {key[0]} has {have} images in camera {key[1]} and a draw of {shots} needs as many; "
            f"ask for at most {have} shots"
        )
