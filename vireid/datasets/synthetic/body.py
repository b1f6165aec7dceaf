"""The body: a baked mean mesh with directions of shape, a reduced skeleton, and linear blend skinning.

Metres; x to the person's left, -y ahead, z up. Knows no clothes and no camera.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy import sparse

from vireid.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from vireid.compiled import compiled

HEAD, TORSO, UPPER_ARM, FOREARM, HAND, THIGH, SHIN, FOOT = range(8)


@dataclass(frozen=True, slots=True)
class Template:
    """What was baked; see ``tools/bake_body.py``.

    Attributes:
        bone_names: J names.
        parents: index of each bone's parent, -1 for the root, (J,).
        vertices: mean body, (N, 3).
        joints: mean joints, (J, 3).
        vertex_directions: (K, N, 3).
        joint_directions: (K, J, 3).
        samples: coefficients of baked bodies, (S, K).
        female: (S,).
        bones: four bones for each vertex, (N, 4).
        weights: of those bones, (N, 4).
        skin: triangles of the body, (F, 3).
        skirt: triangles of a skirt around it, (G, 3).
        part: which part of the body a vertex is, (N,).
        along: 0 at the beginning of a limb to 1 at its end, (N,).
        scalp: where hair grows, (N,).
    """

    bone_names: tuple[str, ...]
    parents: Int64Array
    vertices: Float32Array
    joints: Float32Array
    vertex_directions: Float32Array
    joint_directions: Float32Array
    samples: Float32Array
    female: BoolArray
    bones: Int64Array
    weights: Float32Array
    skin: Int64Array
    skirt: Int64Array
    part: UInt8Array
    along: Float32Array
    scalp: BoolArray

    def bone(self, name: str) -> int:
        """Return a bone's index."""
        return self.bone_names.index(name)


@cache
def template() -> Template:
    """Load the baked body, once for each process."""
    file = resources.files("vireid.datasets.synthetic") / "assets" / "body.npz"
    with resources.as_file(file) as path, np.load(path, allow_pickle=False) as baked:
        metre = float(baked["metre"])

        def metres(name: str) -> Float32Array:
            values: Float32Array = baked[name].astype(np.float32) / np.float32(metre)
            return values

        weights = baked["weights"].astype(np.float32)
        return Template(
            bone_names=tuple(str(name) for name in baked["bone_names"]),
            parents=baked["bone_parents"].astype(np.int64),
            vertices=metres("vertices"),
            joints=metres("joints"),
            vertex_directions=metres("vertex_directions"),
            joint_directions=metres("joint_directions"),
            samples=baked["samples"],
            female=baked["female"],
            bones=baked["bones"].astype(np.int64),
            weights=weights / weights.sum(1, keepdims=True),
            skin=baked["skin"].astype(np.int64),
            skirt=baked["skirt"].astype(np.int64),
            part=baked["part"],
            along=baked["along"].astype(np.float32),
            scalp=baked["scalp"],
        )


@cache
def neighbours() -> sparse.csr_array:
    """Return the matrix that averages each vertex's neighbours on the body, (N, N)."""
    faces = template().skin
    count = len(template().vertices)
    first, second = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    joined = sparse.csr_array((np.ones(len(rows)), (rows, columns)), (count, count))
    joined.data[:] = 1
    degree = np.maximum(joined.sum(1), 1)
    return sparse.csr_array(joined / degree[:, None])


def shape(random: np.random.Generator, female: bool) -> tuple[Float32Array, Float32Array]:
    """Draw a body: between two baked ones of the same sex, a little beside the line.

    Returns:
        Vertices (N, 3) and joints (J, 3) at rest.
    """
    body = template()
    first, second = random.choice(np.flatnonzero(body.female == female), 2, replace=False)
    share = random.uniform(-0.15, 1.15)
    mixed = body.samples[first] * (1 - share) + body.samples[second] * share
    mixed = (mixed + random.normal(0, 0.02, mixed.shape)).astype(np.float32)
    vertices = body.vertices + np.tensordot(mixed, body.vertex_directions, 1)
    joints = body.joints + np.tensordot(mixed, body.joint_directions, 1)
    return vertices.astype(np.float32), joints.astype(np.float32)


def about(axis: int, angle: float) -> Float32Array:
    """Return the rotation about an axis (0 x, 1 y, 2 z), (3, 3)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.eye(3, dtype=np.float32)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[a, a] = matrix[b, b] = cosine
    matrix[a, b], matrix[b, a] = -sine, sine
    return matrix


def pose(joints: Float32Array, rotations: dict[str, Float32Array]) -> Float32Array:
    """Turn bones about their joints, parents first.

    Args:
        joints: at rest, (J, 3).
        rotations: by bone name, (3, 3), in the axes of the resting body.

    Returns:
        One affine map for each bone, (J, 3, 4).
    """
    body = template()
    maps = np.zeros((len(joints), 4, 4), np.float32)
    for index, name in enumerate(body.bone_names):
        own = np.eye(4, dtype=np.float32)
        turn = rotations.get(name)
        if turn is not None:
            own[:3, :3] = turn
            own[:3, 3] = joints[index] - turn @ joints[index]
        parent = body.parents[index]
        maps[index] = own if parent < 0 else maps[parent] @ own
    return np.ascontiguousarray(maps[:, :3])


@compiled(fastmath=True)
def skin(
    points: Float32Array,
    normals: Float32Array,
    bones: Int64Array,
    weights: Float32Array,
    maps: Float32Array,
) -> tuple[Float32Array, Float32Array]:
    """Move resting points and turn their normals with the bones.

    Args:
        points: (N, 3).
        normals: (N, 3).
        bones: (N, 4).
        weights: (N, 4).
        maps: (J, 3, 4).
    """
    moved = np.empty_like(points)
    turned = np.empty_like(normals)
    for i in range(points.shape[0]):
        for row in range(3):
            p = n = np.float32(0)
            for k in range(4):
                w = weights[i, k]
                if w > 0:
                    m = maps[bones[i, k], row]
                    p += w * (m[0] * points[i, 0] + m[1] * points[i, 1] + m[2] * points[i, 2] + m[3])
                    n += w * (m[0] * normals[i, 0] + m[1] * normals[i, 1] + m[2] * normals[i, 2])
            moved[i, row] = p
            turned[i, row] = n
    return moved, turned


def normals(points: Float32Array, faces: Int64Array) -> Float32Array:
    """Compute unit normals of vertices from the faces around them, (N, 3)."""
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    face = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(face[:, k], 3), len(points)) for k in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit: Float32Array = (total / np.maximum(length, 1e-9)).astype(np.float32)
    return unit
