"""Geometry against slow references: the rasteriser, skinning, normals, colours; and compiling without a cache."""

import colorsys

import numba.core.caching
import numpy as np
import pytest

from vireid.arrays import Float32Array, Int64Array
from vireid.compiled import compiled
from vireid.datasets.synthetic import body, materials
from vireid.datasets.synthetic.raster import rasterise


def _slow(
    places: Float32Array, depth: Float32Array, faces: Int64Array, height: int, width: int
) -> Int64Array:
    """Ask every pixel of every triangle which side of its edges it lies on."""
    y, x = np.mgrid[:height, :width].astype(float)
    nearest, shown = np.full((height, width), np.inf), np.full((height, width), -1)
    for number, face in enumerate(faces):
        corners = places[face].astype(float)
        matrix = np.vstack([corners.T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        share = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
        z = np.einsum("i,ihw->hw", depth[face].astype(float), share)
        here = (share >= -1e-4).all(0) & (z < nearest)
        nearest[here], shown[here] = z[here], number
    return shown


def test_the_rasteriser_shows_the_nearest_triangle() -> None:
    random = np.random.default_rng(1)
    places = random.uniform(-8, 40, (60, 2)).astype(np.float32)
    depth = random.uniform(1, 9, 60).astype(np.float32)
    faces = random.integers(0, 60, (40, 3))
    shown, inside = rasterise(places, depth, faces, 32, 24)
    # a pixel on an edge, or where two planes cross, may fall either way
    assert (shown == _slow(places, depth, faces, 32, 24)).mean() > 0.99
    assert (shown >= 0).mean() > 0.5
    y, x = np.nonzero(shown >= 0)
    share = np.concatenate([inside[y, x], 1 - inside[y, x].sum(1, keepdims=True)], 1)
    met = np.einsum("pk,pkd->pd", share, places[faces[shown[y, x]]])
    assert np.abs(met - np.stack([x, y], 1)).max() < 0.05


def test_nothing_in_view_shows_nothing() -> None:
    places = np.array([[100, 100], [120, 100], [100, 120]], np.float32)
    shown, _ = rasterise(places, np.ones(3, np.float32), np.array([[0, 1, 2]]), 8, 8)
    assert (shown == -1).all()


def test_skinning_is_the_weighted_sum_of_the_bones() -> None:
    random = np.random.default_rng(2)
    shape = body.template()
    turns = {
        "upperleg01.L": body.about(0, 0.5),
        "head": body.about(2, -0.3),
        "lowerarm01.R": body.about(1, 0.7),
    }
    maps = body.pose(shape.joints, turns)
    chosen = random.choice(len(shape.vertices), 300, replace=False)
    points, normal = shape.vertices[chosen], random.normal(0, 1, (300, 3)).astype(np.float32)
    moved, turned = body.skin(points, normal, shape.bones[chosen], shape.weights[chosen], maps)
    for i in range(300):
        blend = np.tensordot(shape.weights[chosen][i], maps[shape.bones[chosen][i]], 1)
        assert moved[i] == pytest.approx(blend[:, :3] @ points[i] + blend[:, 3], abs=1e-4)
        assert turned[i] == pytest.approx(blend[:, :3] @ normal[i], abs=1e-4)


def test_a_resting_pose_moves_nothing() -> None:
    shape = body.template()
    maps = body.pose(shape.joints, {})
    moved, _ = body.skin(shape.vertices, shape.vertices, shape.bones, shape.weights, maps)
    assert moved == pytest.approx(shape.vertices, abs=1e-5)


def test_a_bone_takes_its_children_with_it_and_keeps_lengths() -> None:
    shape = body.template()
    maps = body.pose(shape.joints, {"upperleg01.L": body.about(0, 1.0)})
    hip, knee, other = (shape.bone(name) for name in ("upperleg01.L", "lowerleg01.L", "lowerleg01.R"))
    place = {bone: maps[bone][:, :3] @ shape.joints[bone] + maps[bone][:, 3] for bone in (hip, knee, other)}
    assert place[hip] == pytest.approx(shape.joints[hip], abs=1e-5)
    assert place[other] == pytest.approx(shape.joints[other], abs=1e-5)
    assert np.linalg.norm(place[knee] - shape.joints[knee]) > 0.2
    assert np.linalg.norm(place[knee] - place[hip]) == pytest.approx(
        np.linalg.norm(shape.joints[knee] - shape.joints[hip]), abs=1e-5
    )


def test_normals_of_a_sphere_point_outward() -> None:
    rows, columns = 12, 24
    polar, around = np.meshgrid(
        np.linspace(0.05, np.pi - 0.05, rows),
        np.linspace(0, 2 * np.pi, columns, endpoint=False),
        indexing="ij",
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    points = points.reshape(-1, 3).astype(np.float32)
    faces = []
    for i in range(rows - 1):
        for j in range(columns):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    found = body.normals(points, np.array(faces))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(points)), abs=1e-5)
    assert (found * points).sum(1).min() > 0.97


def test_the_baked_body_is_a_person() -> None:
    shape = body.template()
    used = np.unique(shape.skin)
    tall = {
        female: np.array(
            [np.ptp(body.shape(np.random.default_rng(seed), female)[0][used][:, 2]) for seed in range(60)]
        )
        for female in (False, True)
    }
    for heights in tall.values():
        assert 1.55 < np.median(heights) < 2.0
        assert 0.03 < heights.std() < 0.2
    assert np.median(tall[False]) > np.median(tall[True])
    assert shape.weights.sum(1) == pytest.approx(np.ones(len(shape.vertices)), abs=1e-5)
    assert (shape.parents < np.arange(len(shape.parents))).all()
    assert max(shape.skin.max(), shape.skirt.max()) < len(shape.vertices)
    # head above torso above feet
    heights_of = [
        shape.vertices[shape.part == part][:, 2].mean() for part in (body.HEAD, body.TORSO, body.FOOT)
    ]
    assert heights_of == sorted(heights_of, reverse=True)


def test_averaging_neighbours_keeps_a_constant_and_shrinks_noise() -> None:
    matrix = body.neighbours()
    used = np.unique(body.template().skin)
    assert (matrix @ np.ones(matrix.shape[0]))[used] == pytest.approx(np.ones(len(used)))
    noise = np.random.default_rng(0).normal(0, 1, matrix.shape[0])
    assert (matrix @ noise)[used].std() < 0.6


def test_hsv_is_that_of_the_standard_library() -> None:
    for hue, saturation, value in np.random.default_rng(3).uniform(0, 1, (50, 3)):
        assert materials.hsv(hue, saturation, value) == pytest.approx(
            colorsys.hsv_to_rgb(hue, saturation, value)
        )


def test_compiling_needs_no_folder_to_keep_it_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(number: int) -> int:
        return 2 * number

    # what numba meets in a read-only image, for a user without a home: no place will do
    for kind in vars(numba.core.caching).values():
        if isinstance(kind, type) and hasattr(kind, "from_function"):
            monkeypatch.setattr(kind, "from_function", lambda *_: None)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(twice)
    assert compiled()(twice)(21) == 42
