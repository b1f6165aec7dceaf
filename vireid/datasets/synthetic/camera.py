"""A camera: where it hangs, what it sees behind people, how its sensor answers. The same for every person.

Three kinds: visible, near infrared (a lamp at the camera), and thermal (emission). Knows no people.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from vireid.arrays import Float32Array, Float64Array

SCENE_HEIGHT, SCENE_WIDTH = 384, 768
SURFACES = (
    (0.35, 0.34, 0.33),
    (0.25, 0.3, 0.2),
    (0.5, 0.45, 0.4),
    (0.55, 0.55, 0.57),
    (0.3, 0.2, 0.15),
    (0.2, 0.22, 0.25),
)
GRASS = (0.1, 0.2, 0.06)


class Kind(StrEnum):
    """What a camera sees with."""

    VISIBLE = "visible"
    NEAR_INFRARED = "near-infrared"
    THERMAL = "thermal"


@dataclass(frozen=True, slots=True)
class Hardness:
    """How hard a preset is; 1 is an ordinary camera.

    Attributes:
        noise: of the sensor.
        cast: spread of the colour cast between cameras, standard deviation of its logarithm.
        shot_cast: the same between shots of one camera.
        grey: how much colour is lost, 0 to 1.
        dark: stops of light missing.
        blur: of lens and motion.
        infrared_noise: of the sensor at night.
    """

    noise: float = 1.0
    cast: float = 0.13
    shot_cast: float = 0.03
    grey: float = 0.0
    dark: float = 0.0
    blur: float = 1.0
    infrared_noise: float = 0.22


@dataclass(frozen=True, slots=True)
class Scene:
    """What is behind people: colour, near-infrared reflectance, degrees over the air; (H, W[, 3])."""

    colour: Float32Array
    infrared: Float32Array
    warmth: Float32Array
    horizon: int


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera's own response.

    Attributes:
        number: as in the dataset.
        kind: what it sees with.
        seed: of its noise pattern.
        height_m: above the ground.
        distance_m: usual distance of people.
        person_px: usual height of people in pixels.
        yaw: the direction people usually walk, radians.
        sun: direction to the sun, (3,).
        sun_share: of the light.
        balance: gain of each channel, (3,).
        mix: crosstalk of channels, (3, 3).
        saturation: of colour.
        gamma: of the tone curve.
        exposure: gain.
        black: level of black.
        read_noise: standard deviation, dark.
        shot_noise: standard deviation, bright.
        blur_px: of the lens.
        shot_cast: spread of the colour cast between shots.
        ambient: share of light at night that is not the lamp's.
        air_c: air temperature.
        quality: of JPEG.
        scene: behind people.
    """

    number: int
    kind: Kind
    seed: int
    height_m: float
    distance_m: float
    person_px: float
    yaw: float
    sun: Float64Array
    sun_share: float
    balance: Float64Array
    mix: Float64Array
    saturation: float
    gamma: float
    exposure: float
    black: float
    read_noise: float
    shot_noise: float
    blur_px: float
    shot_cast: float
    ambient: float
    air_c: float
    quality: int
    scene: Scene


def draw(number: int, kind: Kind, seed: int, hard: Hardness) -> Camera:
    """Draw camera ``number`` of a seed."""
    random = np.random.default_rng([seed, 2, number])
    sun = np.array([random.normal(), random.normal(), abs(random.normal()) + 0.7])
    night = kind is Kind.NEAR_INFRARED
    noise = hard.infrared_noise if night else hard.noise
    lowest, highest = ((0.008, 0.02), (0.015, 0.035)) if night else ((0.004, 0.02), (0.01, 0.03))
    return Camera(
        number=number,
        kind=kind,
        seed=seed * 1000 + number,
        height_m=random.uniform(2.2, 4.2),
        distance_m=random.uniform(5, 11),
        person_px=random.uniform(90, 200),
        yaw=random.uniform(0, 2 * np.pi),
        sun=sun / np.linalg.norm(sun),
        sun_share=random.uniform(0.2, 0.9),
        balance=np.exp(random.normal(0, hard.cast, 3)),
        mix=np.eye(3) + random.normal(0, 0.05, (3, 3)),
        saturation=random.uniform(0.6, 1.15) * (1 - hard.grey),
        gamma=random.uniform(0.42, 0.6),
        exposure=random.uniform(*((0.6, 1.05) if night else (0.75, 1.5)))
        * 2.0 ** -(hard.dark * random.uniform(0.3, 1.0)),
        black=random.uniform(0, 0.05),
        read_noise=random.uniform(*lowest) * noise,
        shot_noise=random.uniform(*highest) * noise,
        blur_px=(random.uniform(0.8, 1.8) if kind is Kind.THERMAL else random.uniform(0.4, 1.05)) * hard.blur,
        shot_cast=hard.shot_cast,
        ambient=random.uniform(0.05, 0.5),
        air_c=random.uniform(8, 26),
        quality=int(random.uniform(55, 92)),
        scene=_scene(random),
    )


def _scene(random: np.random.Generator) -> Scene:
    height, width = SCENE_HEIGHT, SCENE_WIDTH
    horizon = int(height * random.uniform(0.3, 0.5))
    coarse, fine = _fractal(random, 5, 0.55), _fractal(random, 6, 0.7)
    surfaces = [np.array(surface) for surface in SURFACES]
    colour = np.zeros((height, width, 3), np.float32)
    infrared = np.zeros((height, width), np.float32)
    warmth = np.zeros((height, width), np.float32)
    colour[:horizon] = surfaces[random.integers(6)] * random.uniform(0.6, 1.4)
    colour[horizon:] = surfaces[random.integers(4)] * random.uniform(0.5, 1.2)
    infrared[:horizon], infrared[horizon:] = random.uniform(0.2, 0.6), random.uniform(0.15, 0.5)
    warmth[:horizon], warmth[horizon:] = random.normal(0, 1.5), random.normal(1, 1.5)
    _pave(random, colour, infrared, horizon)
    for _ in range(int(random.uniform(12, 34))):
        x, y = int(random.integers(0, width)), int(random.integers(0, horizon + 30))
        wide, tall = int(random.uniform(10, 120)), int(random.uniform(15, 150))
        box = np.s_[max(0, y - tall) : y, x : x + wide]
        paint = surfaces[random.integers(6)] * random.uniform(0.2, 1.8)
        if random.random() < 0.25:
            paint = random.uniform(0.05, 0.6, 3)
        colour[box], infrared[box], warmth[box] = paint, random.uniform(0.05, 0.75), random.normal(0, 2.5)
        if random.random() < 0.5:  # a frame, a door, a window: boxes in boxes
            inner = np.s_[max(0, y - tall) + tall // 6 : y - tall // 6, x + wide // 6 : x + wide - wide // 6]
            factor = random.uniform(0.3, 1.7)
            colour[inner] *= factor
            infrared[inner] *= random.uniform(0.5, 1.5)
    for _ in range(int(random.uniform(0, 9))):
        x, wide, factor = int(random.integers(0, width)), int(random.uniform(2, 8)), random.uniform(0.3, 1.6)
        colour[: horizon + 20, x : x + wide] *= factor
        infrared[: horizon + 20, x : x + wide] *= random.uniform(0.4, 1.5)
    if random.random() < 0.5:
        leaves = (fine > random.uniform(0.4, 1.2)) & (np.arange(height)[:, None] < horizon + 40)
        shade = np.clip(1 + 0.5 * _fractal(random, 6, 0.9), 0.2, 2.5)
        colour[leaves] = np.array(GRASS) * shade[leaves][:, None]
        infrared[leaves], warmth[leaves] = 0.6 * np.clip(shade[leaves], 0.4, 1.3), -1
    texture = (1 + 0.12 * coarse + 0.1 * fine).astype(np.float32)
    soft = (0.8, 0.8)
    return Scene(
        colour=ndimage.gaussian_filter(np.clip(colour * texture[..., None], 0, 1), (*soft, 0)),
        infrared=ndimage.gaussian_filter(np.clip(infrared * texture, 0, 1), soft),
        warmth=(warmth + 0.5 * coarse + 0.3 * fine).astype(np.float32),
        horizon=horizon,
    )


def _pave(random: np.random.Generator, colour: Float32Array, infrared: Float32Array, horizon: int) -> None:
    """Lay joints of slabs and a painted line on the ground, in perspective."""
    rows = np.arange(SCENE_HEIGHT - horizon, dtype=np.float64)[:, None] + 8
    columns = np.arange(SCENE_WIDTH, dtype=np.float64)[None] - SCENE_WIDTH * random.uniform(0.2, 0.8)
    far, side = 900 / rows, columns / rows
    size = random.uniform(0.5, 2.0)
    joints = (np.mod(far / size, 4) < 0.12) | (np.mod(side * 4 / size, 1) < 0.04)
    factor = np.where(joints, random.uniform(0.6, 0.95), 1.0).astype(np.float32)
    colour[horizon:] *= factor[..., None]
    infrared[horizon:] *= factor
    if random.random() < 0.4:
        painted = np.abs(side - random.uniform(-2, 2)) < 0.12
        colour[horizon:][painted] = 0.6
        infrared[horizon:][painted] = 0.6


def _fractal(random: np.random.Generator, octaves: int, falloff: float) -> Float32Array:
    total = np.zeros((SCENE_HEIGHT, SCENE_WIDTH), np.float32)
    strength = 1.0
    for octave in range(octaves):
        rows = 2 ** (octave + 2)
        cells = random.standard_normal((rows // 2 + 1, rows + 1)).astype(np.float32)
        zoom = (SCENE_HEIGHT / cells.shape[0], SCENE_WIDTH / cells.shape[1])
        total += strength * ndimage.zoom(cells, zoom, order=1, grid_mode=True, mode="nearest")
        strength *= falloff
    unit: Float32Array = total / total.std()
    return unit
