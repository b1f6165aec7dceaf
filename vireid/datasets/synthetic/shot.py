"""One picture: a posed person before a camera, light or lamp or warmth, then the sensor.

The same person and camera give other pictures by the number of the shot: other step, direction, distance, crop, noise.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt8Array
from vireid.datasets.synthetic import body, materials
from vireid.datasets.synthetic.camera import SCENE_HEIGHT, SCENE_WIDTH, Camera, Kind
from vireid.datasets.synthetic.person import Person
from vireid.datasets.synthetic.raster import rasterise

FINE = 2  # samples a pixel in each direction
SKIN_C = 33.0
LOWEST_PX, HIGHEST_PX = 48, 260
OCCLUDED, TRUNCATED = 0.12, 0.06


@dataclass(frozen=True, slots=True)
class _View:
    """What the camera sees of a person: a fine grid of pixels.

    Attributes:
        mask: where the person is, (H, W).
        points: resting places of what is seen, (P, 3).
        normals: turned, facing the camera, (P, 3).
        material: (P,).
        ahead: from the camera, (3,).
        distance_m: of the person.
    """

    mask: BoolArray
    points: Float32Array
    normals: Float32Array
    material: Int64Array
    ahead: Float64Array
    distance_m: float


@dataclass(frozen=True, slots=True)
class _Surface:
    """Albedo (P, 3), near-infrared reflectance (P,), degrees over the air (P,), normals (P, 3)."""

    albedo: Float32Array
    infrared: Float32Array
    warmth: Float32Array
    normals: Float32Array


def take(person: Person, camera: Camera, random: np.random.Generator) -> UInt8Array:
    """Take a picture, before JPEG.

    Args:
        person: who.
        camera: where.
        random: of this shot.

    Returns:
        RGB, grey in all three channels for infrared, (h, w, 3).
    """
    view = _look(person, camera, random)
    surface = _surface(person, view)
    light = {Kind.VISIBLE: _by_day, Kind.NEAR_INFRARED: _by_lamp, Kind.THERMAL: _by_warmth}[camera.kind]
    picture = light(camera, view, surface, _background(camera, view, random), random)
    _occlude(picture, camera, random)
    return _sense(picture, camera, random)


def jpeg(rgb: UInt8Array, quality: int) -> bytes:
    """Encode as JPEG."""
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=quality)
    return out.getvalue()


def _step(person: Person, random: np.random.Generator) -> dict[str, Float32Array]:
    """Draw a moment of walking."""
    gait, moment = person.gait, random.uniform(0, 2 * np.pi)
    stride = gait.stride * random.uniform(0.5, 1.1) if random.random() < 0.85 else 0.05
    swing = stride / 0.4
    turns = {}
    for side, sign in (("L", 1), ("R", -1)):
        bend = max(0.0, np.sin(moment + (0 if sign > 0 else np.pi) + 1.9)) * 0.9 * swing
        turns[f"upperleg01.{side}"] = body.about(0, stride * np.sin(moment) * sign + 0.05) @ body.about(
            1, sign * 0.03
        )
        turns[f"lowerleg01.{side}"] = body.about(0, -bend)
        turns[f"foot.{side}"] = body.about(0, 0.25 * bend)
        arm, elbow = -gait.arm * swing * np.sin(moment) * sign * 0.8, 0.25 + random.uniform(0, 0.3)
        if random.random() < 0.1:  # a telephone
            arm, elbow = 0.35, 1.6
        turns[f"upperarm01.{side}"] = body.about(0, arm) @ body.about(1, sign * gait.arm_down)
        turns[f"lowerarm01.{side}"] = body.about(0, elbow)
    turns["spine03"] = body.about(0, gait.lean) @ body.about(2, 0.12 * np.sin(moment) * swing)
    turns["head"] = body.about(2, random.normal(0, 0.25)) @ body.about(0, random.normal(0.05, 0.1))
    return turns


def _look(person: Person, camera: Camera, random: np.random.Generator) -> _View:
    maps = body.pose(person.joints, _step(person, random))
    points, normals = body.skin(person.points, person.normals, person.bones, person.weights, maps)
    usual = random.random() < 0.7
    turn = body.about(2, camera.yaw + random.normal(0, 0.7) if usual else random.uniform(0, 2 * np.pi))
    points, normals = points @ turn.T, normals @ turn.T
    points[:, 2] -= points[:, 2].min()
    distance = camera.distance_m * random.uniform(0.7, 1.4)
    eye = np.array([0, -distance, camera.height_m])
    ahead = np.array([0, 0, 0.9]) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0, 0, 1])
    right /= np.linalg.norm(right)
    local = (points - eye) @ np.stack([right, np.cross(right, ahead), ahead], 1)
    x, y, depth = local[:, 0] / local[:, 2], -local[:, 1] / local[:, 2], local[:, 2]

    tall = float(np.clip(camera.person_px * random.uniform(0.8, 1.2) * (camera.distance_m / distance) ** 0.5,
                         LOWEST_PX, HIGHEST_PX))  # fmt: skip
    scale = FINE * tall / (y.max() - y.min())
    box_tall = y.max() - y.min()
    box_wide = max(x.max() - x.min(), box_tall * random.uniform(0.36, 0.46))
    middle = (x.min() + x.max()) / 2 + box_tall * random.normal(0, 0.02)
    margin = random.normal(0, 0.02, 4) + np.array([0.02, 0.02, 0.03, 0.03])
    if random.random() < TRUNCATED:
        margin[3] -= random.uniform(0.1, 0.35)
    left, up = middle - box_wide / 2 - margin[0] * box_tall, y.min() - margin[2] * box_tall
    width = max(12, int((middle + box_wide / 2 + margin[1] * box_tall - left) * scale))
    height = max(24, int((y.max() + margin[3] * box_tall - up) * scale))
    places = np.stack([(x - left) * scale, (y - up) * scale], 1).astype(np.float32)
    shown, inside = rasterise(places, depth.astype(np.float32), person.faces, height, width)

    mask = shown >= 0
    faces = person.faces[shown[mask]]
    u, v = inside[mask][:, :1], inside[mask][:, 1:]
    share = (u, v, 1 - u - v)
    seen = _between(normals, faces, share)
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
    seen[(seen @ -ahead) < 0] *= -1
    return _View(
        mask=mask,
        points=_between(person.points, faces, share),
        normals=np.asarray(seen, np.float32),
        material=person.face_material[shown[mask]],
        ahead=ahead,
        distance_m=distance,
    )


def _between(values: Float32Array, faces: Int64Array, share: tuple[Float32Array, ...]) -> Float32Array:
    """Interpolate values of corners inside their faces."""
    a, b, c = values[faces[:, 0]], values[faces[:, 1]], values[faces[:, 2]]
    mixed: Float32Array = a * share[0] + b * share[1] + c * share[2]
    return mixed


def _surface(person: Person, view: _View) -> _Surface:
    count = len(view.points)
    albedo = np.zeros((count, 3), np.float32)
    infrared, warmth = np.zeros(count, np.float32), np.zeros(count, np.float32)
    normals = view.normals.copy()
    for key in np.unique(view.material):
        here = view.material == key
        material, points = person.materials[int(key)], view.points[here]
        share = materials.pattern(material, points)
        albedo[here] = material.colours[0] * (1 - share[:, None]) + material.colours[1] * share[:, None]
        infrared[here] = material.infrared[0] * (1 - share) + material.infrared[1] * share
        warmth[here] = material.warmth
        if material.wrinkle_depth:
            waves = points @ material.wrinkles.T + material.wrinkle_phase
            normals[here] -= 0.9 * (np.cos(waves) @ material.wrinkles) * (material.wrinkle_depth / 60)
            folds = np.sin(waves[:, :3]).sum(1)
            warmth[here] += 0.02 * folds * material.wrinkle_depth
            if key == materials.HAIR:
                albedo[here] *= (1 + 0.25 * np.sin(waves[:, 0]))[:, None]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return _Surface(albedo, infrared, warmth, normals)


def _background(camera: Camera, view: _View, random: np.random.Generator) -> tuple[slice, slice, float]:
    """Choose the part of the scene behind this person, and how much it is enlarged."""
    height, width = view.mask.shape
    zoom = random.uniform(0.8, 2.2) * FINE
    rows = min(SCENE_HEIGHT, max(20, int(height / zoom)))
    columns = min(SCENE_WIDTH, max(8, int(width / zoom)))
    up = int(np.clip(camera.scene.horizon - 0.44 * rows + random.normal(0, 6), 0, SCENE_HEIGHT - rows))
    left = int(random.uniform(0, SCENE_WIDTH - columns))
    return slice(up, up + rows), slice(left, left + columns), zoom


def _cut(values: Float32Array, place: tuple[slice, slice, float], shape: tuple[int, ...]) -> Float32Array:
    part = values[place[0], place[1]]
    zoom = (shape[0] / part.shape[0], shape[1] / part.shape[1], *([1] * (part.ndim - 2)))
    out: Float32Array = ndimage.zoom(part, zoom, order=1, grid_mode=True, mode="nearest")
    return out[: shape[0], : shape[1]].copy()


def _by_day(
    camera: Camera,
    view: _View,
    surface: _Surface,
    place: tuple[slice, slice, float],
    random: np.random.Generator,
) -> Float32Array:
    sky = 0.35 + 0.35 * (surface.normals[:, 2] * 0.5 + 0.5)
    sun = np.clip(surface.normals @ camera.sun, 0, None)
    light = sky[:, None] * np.array([0.95, 1, 1.08]) + camera.sun_share * sun[:, None] * np.array(
        [1.08, 1, 0.9]
    )
    picture = _cut(camera.scene.colour, place, view.mask.shape) * (0.55 + 0.4 * camera.sun_share)
    _cast_shadow(picture, view)
    picture[view.mask] = surface.albedo * light
    cast = np.exp(random.normal(0, camera.shot_cast, 3))
    lit: Float32Array = (picture * camera.exposure * np.exp(random.normal(0, 0.12)) * cast).astype(np.float32)
    return lit


def _by_lamp(
    camera: Camera,
    view: _View,
    surface: _Surface,
    place: tuple[slice, slice, float],
    random: np.random.Generator,
) -> Float32Array:
    lamp = np.clip(surface.normals @ -view.ahead, 0, 1) ** 0.7 * (8 / view.distance_m) ** 2 * 0.9
    light = camera.ambient * (0.5 + 0.5 * surface.normals[:, 2]) + (1 - camera.ambient) * lamp
    behind = camera.ambient * 0.7 + (1 - camera.ambient) * (8 / (view.distance_m * 1.5)) ** 2 * 0.8
    picture = _cut(camera.scene.infrared, place, view.mask.shape) * behind
    picture[view.mask] = surface.infrared * light * 1.1
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    centred = (columns / picture.shape[1] - 0.5) ** 2 + (rows / picture.shape[0] - 0.5) ** 2
    picture = picture * (1 - 0.25 * centred) * camera.exposure * np.exp(random.normal(0, 0.12))
    return np.repeat(picture[..., None], 3, 2).astype(np.float32)


def _by_warmth(
    camera: Camera,
    view: _View,
    surface: _Surface,
    place: tuple[slice, slice, float],
    _random: np.random.Generator,
) -> Float32Array:
    picture = camera.air_c + _cut(camera.scene.warmth, place, view.mask.shape)
    grazing = 1 - np.clip(surface.normals @ -view.ahead, 0, 1)
    picture[view.mask] = camera.air_c + (SKIN_C - camera.air_c) * surface.warmth - 0.8 * grazing
    return picture


def _cast_shadow(picture: Float32Array, view: _View) -> None:
    """Darken the ground around the feet."""
    rows = np.flatnonzero(view.mask.any(1))
    if not len(rows):
        return
    feet = rows[-1]
    columns = np.flatnonzero(view.mask[max(0, feet - 8) : feet + 1].any(0))
    if not len(columns):
        return
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    wide = max(6.0, 0.9 * (columns[-1] - columns[0] + 1))
    reach = ((x - columns.mean()) / wide) ** 2 + ((y - feet + 2) / (0.25 * wide)) ** 2
    picture *= (1 - 0.45 * np.exp(-reach))[..., None]


def _occlude(picture: Float32Array, camera: Camera, random: np.random.Generator) -> None:
    if random.random() >= OCCLUDED:
        return
    height, width = picture.shape[:2]
    fill = camera.air_c + random.normal(0, 2) if camera.kind is Kind.THERMAL else random.uniform(0.05, 0.4)
    if random.random() < 0.5:
        left = int(random.uniform(0.1, 0.9) * width)
        picture[:, left : left + max(2, int(width * random.uniform(0.05, 0.25)))] = fill
    else:
        picture[int(height * random.uniform(0.6, 0.9)) :] = fill


def _sense(picture: Float32Array, camera: Camera, random: np.random.Generator) -> UInt8Array:
    """Lens, motion, pixels, noise, tone."""
    spread = camera.blur_px * FINE * 0.6
    flat = (spread, spread, 0)[: picture.ndim]
    picture = ndimage.gaussian_filter(picture, flat, truncate=3)
    if random.random() < 0.4:
        length = max(1, int(random.uniform(1, 3) * FINE)) * 2 + 1
        axis = 1 if random.random() < 0.75 else 0
        picture = ndimage.uniform_filter1d(picture, length, axis=axis)
    height, width = max(24, picture.shape[0] // FINE), max(10, picture.shape[1] // FINE)
    picture = picture[: height * FINE, : width * FINE]
    small = picture.reshape(height, FINE, width, FINE, *picture.shape[2:]).mean((1, 3))
    if camera.kind is Kind.THERMAL:
        return _thermal(small, camera, random)
    if camera.kind is Kind.VISIBLE:
        small = np.clip(small @ camera.mix.T * camera.balance, 0, None)
        grey = small @ materials.LUMINANCE
        small = grey[..., None] + (small - grey[..., None]) * camera.saturation
        noise = random.normal(0, 1, small.shape)
    else:
        noise = random.normal(0, 1, small.shape[:2])[..., None]
    small = np.clip(small, 0, None)
    small = small + noise * (camera.read_noise + camera.shot_noise * np.sqrt(np.clip(small, 0, 1)))
    toned = camera.black + (1 - camera.black) * np.clip(small, 0, 1) ** camera.gamma
    whole: UInt8Array = (np.clip(toned, 0, 1) * 255).astype(np.uint8)
    return whole


def _thermal(small: Float32Array, camera: Camera, random: np.random.Generator) -> UInt8Array:
    """Noise of a microbolometer, its columns, and automatic gain to 8 bits."""
    columns = np.random.default_rng(camera.seed).normal(0, 0.2, 2048)[: small.shape[1]]
    noisy = small + random.normal(0, 0.1, small.shape) + columns
    low, high = np.percentile(noisy, 1) - 1.5, np.percentile(noisy, 99.5) + 1
    grey = (np.clip((noisy - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)
