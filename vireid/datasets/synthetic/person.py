"""One drawn person: body, clothes as geometry, materials, gait. The same in every camera.

Clothes are the body's own surface moved outward where they cover it, a skirt shell around the legs, and simple solids
for bags and hair. Knows no camera.
"""

from dataclasses import dataclass

import numpy as np

from vireid.arrays import BoolArray, Float32Array, Int64Array
from vireid.datasets.synthetic import body as bodies
from vireid.datasets.synthetic import materials
from vireid.datasets.synthetic.body import FOOT, FOREARM, HAND, HEAD, SHIN, THIGH, TORSO, UPPER_ARM
from vireid.datasets.synthetic.materials import Material

DRAPING = 10  # rounds of smoothing


@dataclass(frozen=True, slots=True)
class Gait:
    """How a person walks: radians.

    Attributes:
        stride: swing of the legs.
        arm: swing of the arms.
        arm_down: from the resting pose to the sides.
        lean: forward.
    """

    stride: float
    arm: float
    arm_down: float
    lean: float


@dataclass(frozen=True, slots=True)
class Person:
    """A person at rest, ready to be posed.

    Attributes:
        points: (N, 3).
        normals: (N, 3).
        faces: (F, 3).
        face_material: a key of ``materials`` for each face, (F,).
        bones: (N, 4).
        weights: (N, 4).
        joints: (J, 3).
        materials: by key.
        gait: how they walk.
    """

    points: Float32Array
    normals: Float32Array
    faces: Int64Array
    face_material: Int64Array
    bones: Int64Array
    weights: Float32Array
    joints: Float32Array
    materials: dict[int, Material]
    gait: Gait


@dataclass(slots=True)
class _Outfit:
    """What is worn."""

    sleeve: float
    leg: float
    hem: float
    skirt: float
    loose_top: float
    loose_leg: float
    coat: float
    long_hair: float
    bald: bool
    hat: bool
    backpack: bool
    bag: int


def draw(seed: int, number: int) -> Person:
    """Draw person ``number`` of a seed; always the same for the same two."""
    random = np.random.default_rng([seed, 1, number])
    female = random.random() < 0.47
    vertices, joints = bodies.shape(random, female)
    outfit = _outfit(random, female)
    worn = {
        materials.SKIN: materials.skin(random),
        materials.HAIR: materials.hair(random),
        materials.TOP: materials.cloth(random, materials.TOP, outfit.loose_top),
        materials.BOTTOM: materials.cloth(random, materials.BOTTOM),
        materials.SHOE: materials.cloth(random, materials.SHOE),
        materials.HAT: materials.cloth(random, materials.HAT),
        materials.BAG: materials.cloth(random, materials.BAG),
        materials.COAT: materials.cloth(random, materials.COAT, outfit.loose_top),
    }
    gait = Gait(
        random.uniform(0.3, 0.5),
        random.uniform(0.25, 0.6),
        random.uniform(0.55, 0.72),
        random.normal(0.03, 0.03),
    )
    parts = [_dressed(vertices, joints, outfit)]
    parts += _skirts(vertices, joints, outfit)
    parts += _hair(vertices, outfit)
    parts += _bags(vertices, joints, outfit, random)
    return _assembled(parts, joints, worn, gait)


def _outfit(random: np.random.Generator, female: bool) -> _Outfit:
    skirted = female and random.random() < 0.3
    return _Outfit(
        sleeve=float(random.choice([0.28, 0.45, 0.93, 0.97], p=[0.3, 0.12, 0.18, 0.4])),
        leg=0.08 if skirted else float(random.choice([0.97, 0.93, 0.45, 0.6], p=[0.62, 0.15, 0.15, 0.08])),
        hem=random.uniform(-0.12, 0.06),
        skirt=random.uniform(-0.5, -0.15) if skirted else 0.0,
        loose_top=float(random.choice([0.008, 0.014, 0.022, 0.032, 0.045], p=[0.2, 0.3, 0.25, 0.15, 0.1])),
        loose_leg=float(random.choice([0.006, 0.016, 0.028, 0.04], p=[0.2, 0.3, 0.3, 0.2])),
        coat=random.uniform(-0.5, -0.12) if random.random() < 0.22 else 0.0,
        long_hair=random.uniform(0.12, 0.34) if random.random() < (0.6 if female else 0.05) else 0.0,
        bald=not female and random.random() < 0.07,
        hat=random.random() < 0.1,
        backpack=random.random() < 0.27,
        bag=int(random.choice([0, 1, -1], p=[0.74, 0.13, 0.13])),
    )


# one piece of geometry: points, faces, material of each face, bones and weights of each point
_Part = tuple[Float32Array, Int64Array, Int64Array, Int64Array, Float32Array]


def _dressed(vertices: Float32Array, joints: Float32Array, outfit: _Outfit) -> _Part:
    """Colour the body by what covers it, and move what is covered outward."""
    shape = bodies.template()
    part, along, z = shape.part, shape.along, vertices[:, 2]
    hips = joints[shape.bone("root"), 2]
    arm = np.isin(part, (UPPER_ARM, FOREARM, HAND))
    leg = np.isin(part, (THIGH, SHIN, FOOT))
    upper = (part == TORSO) & (z > hips + outfit.hem)
    neckline = joints[shape.bone("neck01"), 2] - 0.015
    sleeve = arm & (along < outfit.sleeve) & (part != HAND)
    trouser = (leg & (along < outfit.leg) & (part != FOOT)) | ((part == TORSO) & ~upper)
    top = (upper & (z < neckline)) | sleeve
    # jackets and shirts hang over the beginning of the legs
    top |= leg & (z > hips + outfit.hem)
    kind = np.full(len(vertices), materials.SKIN, np.int64)
    kind[trouser] = materials.BOTTOM
    kind[top] = materials.COAT if outfit.coat else materials.TOP
    kind[(part == FOOT)] = materials.SHOE
    kind[(part == HEAD) & shape.scalp & (not outfit.bald)] = materials.HAIR
    if outfit.hat:
        kind[(part == HEAD) & shape.scalp & (z > z.max() - 0.09)] = materials.HAT

    out = np.zeros(len(vertices), np.float32)
    out[top] = outfit.loose_top
    # trousers hang straight: looser where the leg is thinner
    out[trouser] = outfit.loose_leg * (0.35 + 0.9 * np.clip(along[trouser], 0, 1))
    out[sleeve] *= 0.5 + 0.6 * np.clip(along[sleeve], 0, 1)
    out[part == FOOT] = 0.012
    out[kind == materials.HAIR] = 0.014 if outfit.long_hair else 0.008
    out[kind == materials.HAT] = 0.022
    covered = trouser | top
    draped = _draped(vertices, covered)
    moved = draped + bodies.normals(draped, shape.skin) * out[:, None]
    # a face belongs to what most of its corners wear
    corners = kind[shape.skin]
    face_kind = np.where(corners[:, 1] == corners[:, 2], corners[:, 1], corners[:, 0])
    return moved.astype(np.float32), shape.skin, face_kind, shape.bones, shape.weights


def _draped(vertices: Float32Array, covered: BoolArray) -> Float32Array:
    """Smooth the body where cloth covers it: cloth spans hollows."""
    neighbours = bodies.neighbours()
    smooth = vertices.astype(np.float64)
    for _ in range(DRAPING):
        smooth[covered] += 0.7 * ((neighbours @ smooth) - smooth)[covered]
    return smooth.astype(np.float32)


def _skirts(vertices: Float32Array, joints: Float32Array, outfit: _Outfit) -> list[_Part]:
    shape = bodies.template()
    hips = joints[shape.bone("root"), 2]
    found: list[_Part] = []
    for hem, kind, out in (
        (outfit.skirt, materials.BOTTOM, 0.012),
        (outfit.coat, materials.COAT, 0.02 + outfit.loose_top),
    ):
        if hem:
            outward = bodies.normals(vertices, shape.skirt)
            points = (vertices + outward * out).astype(np.float32)
            faces = shape.skirt[points[shape.skirt][:, :, 2].max(1) > hips + hem]
            # what hangs below the hem is drawn up to it: an even edge
            points[:, 2] = np.maximum(points[:, 2], hips + hem)
            found.append((points, faces, np.full(len(faces), kind, np.int64), shape.bones, shape.weights))
    return found


def _hair(vertices: Float32Array, outfit: _Outfit) -> list[_Part]:
    if not outfit.long_hair:
        return []
    shape = bodies.template()
    top = vertices[shape.part == HEAD][:, 2].max()
    back = vertices[(shape.part == HEAD) & shape.scalp][:, 1].max()
    centre = np.array([0, back - 0.045, top - 0.1 - outfit.long_hair / 2])
    size = np.array([0.085, 0.055, 0.05 + outfit.long_hair / 2])
    return [_solid(centre, size, "head", materials.HAIR, roundness=2.3)]


def _bags(
    vertices: Float32Array, joints: Float32Array, outfit: _Outfit, random: np.random.Generator
) -> list[_Part]:
    shape = bodies.template()
    torso = vertices[shape.part == TORSO]
    chest = joints[shape.bone("spine02"), 2] + 0.06
    level = torso[np.abs(torso[:, 2] - chest) < 0.05]
    back, front = level[:, 1].max() + outfit.loose_top, level[:, 1].min() - outfit.loose_top
    found: list[_Part] = []
    if outfit.backpack:
        deep = 0.07 + 0.04 * random.random()
        centre = np.array([0, back + deep * 0.8, chest - 0.02])
        found.append(_solid(centre, np.array([0.15, deep, 0.2]), "spine02", materials.BAG, roundness=4))
        for side in (-1, 1):
            strap = np.array([side * 0.1, (front + back) / 2, chest + 0.05])
            size = np.array([0.02, (back - front) / 2 + 0.012, 0.13])
            found.append(_solid(strap, size, "spine01", materials.BAG, roundness=4))
    elif outfit.bag:
        hips = joints[shape.bone("root")]
        wide = np.abs(vertices[shape.part == THIGH][:, 0]).max()
        centre = np.array([outfit.bag * (wide + 0.05), 0.02, hips[2] + 0.0])
        found.append(_solid(centre, np.array([0.06, 0.14, 0.11]), "root", materials.BAG, roundness=5))
    return found


def _solid(centre: Float32Array, size: Float32Array, bone: str, kind: int, roundness: float) -> _Part:
    """Build a superellipsoid that moves with one bone."""
    rows, columns = 12, 20
    polar = np.linspace(0, np.pi, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    direction = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], -1
    )
    direction /= (np.abs(direction) ** roundness).sum(-1, keepdims=True) ** (1 / roundness)
    points = (centre + direction * size).reshape(-1, 3).astype(np.float32)
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    bones = np.zeros((len(points), 4), np.int64)
    bones[:, 0] = bodies.template().bone(bone)
    weights = np.tile(np.array([1, 0, 0, 0], np.float32), (len(points), 1))
    return points, faces.astype(np.int64), np.full(len(faces), kind, np.int64), bones, weights


def _assembled(parts: list[_Part], joints: Float32Array, worn: dict[int, Material], gait: Gait) -> Person:
    points, faces, kinds, bones, weights, normals = [], [], [], [], [], []
    start = 0
    for part_points, part_faces, part_kinds, part_bones, part_weights in parts:
        used = np.unique(part_faces)
        renumber = np.zeros(len(part_points), np.int64)
        renumber[used] = np.arange(len(used))
        own_faces = renumber[part_faces]
        points.append(part_points[used])
        normals.append(bodies.normals(part_points[used], own_faces))
        faces.append(own_faces + start)
        kinds.append(part_kinds)
        bones.append(part_bones[used])
        weights.append(part_weights[used])
        start += len(used)
    return Person(
        points=np.ascontiguousarray(np.concatenate(points), np.float32),
        normals=np.ascontiguousarray(np.concatenate(normals), np.float32),
        faces=np.concatenate(faces),
        face_material=np.concatenate(kinds),
        bones=np.concatenate(bones),
        weights=np.ascontiguousarray(np.concatenate(weights), np.float32),
        joints=joints,
        materials=worn,
        gait=gait,
    )
