"""What things are made of: colour by day, reflectance in near infrared, insulation for thermal.

The relations, not measured spectra: organic dyes are nearly transparent beyond 750 nm, so cloth shows its fibre
more than its colour, while carbon black, pigments and coatings stay dark; patterns fade, but not always; skin is
bright and hair middling whatever their tone. Knows no geometry.
"""

from dataclasses import dataclass, field

import numpy as np

from vireid.arrays import Float32Array, Float64Array

SKIN, TOP, BOTTOM, SHOE, HAIR, HAT, BAG, COAT = range(8)
NONE, STRIPES, PINSTRIPES, PLAID, BLOCK, LOGO, PATCHES, SIDE = range(8)
LUMINANCE = np.array([0.3, 0.59, 0.11])

PATTERN_CHANCES = {
    TOP: (0.38, 0.13, 0.05, 0.11, 0.1, 0.14, 0.04, 0.05),
    COAT: (0.86, 0, 0.04, 0.06, 0, 0, 0.02, 0.02),
    BOTTOM: (0.88, 0, 0.02, 0, 0, 0, 0.02, 0.08),
    BAG: (0.6, 0, 0, 0, 0.4, 0, 0, 0),
}
HAIR_COLOURS = (
    (0.02, 0.017, 0.015),
    (0.05, 0.03, 0.02),
    (0.16, 0.09, 0.04),
    (0.35, 0.25, 0.12),
    (0.3, 0.3, 0.3),
)
HAIR_CHANCES = (0.5, 0.22, 0.13, 0.08, 0.07)


@dataclass(frozen=True, slots=True)
class Material:
    """One surface.

    Attributes:
        colours: linear RGB albedo of ground and pattern, (2, 3).
        infrared: near-infrared reflectance of ground and pattern, (2,).
        warmth: share of the skin's excess over the air that reaches the surface.
        pattern: which pattern.
        scale: its period in metres.
        phase: where it begins, (3,).
        wrinkles: wave vectors of folds, (W, 3).
        wrinkle_phase: (W,).
        wrinkle_depth: how strongly folds bend the normal.
    """

    colours: Float64Array
    infrared: Float64Array
    warmth: float
    pattern: int = NONE
    scale: float = 0.06
    phase: Float64Array = field(default_factory=lambda: np.zeros(3))
    wrinkles: Float64Array = field(default_factory=lambda: np.zeros((1, 3)))
    wrinkle_phase: Float64Array = field(default_factory=lambda: np.zeros(1))
    wrinkle_depth: float = 0.0


def hsv(hue: float, saturation: float, value: float) -> Float64Array:
    """Convert to linear RGB."""
    sixth = int(hue * 6) % 6
    rest = hue * 6 - int(hue * 6)
    p, q, t = value * (1 - saturation), value * (1 - rest * saturation), value * (1 - (1 - rest) * saturation)
    table = ((value, t, p), (q, value, p), (p, value, t), (p, q, value), (t, p, value), (value, p, q))
    return np.array(table[sixth])


def skin(random: np.random.Generator) -> Material:
    """Draw skin: many tones by day, nearly one in near infrared."""
    tone = random.beta(2, 2)
    colour = np.array([0.62, 0.42, 0.33]) * (1 - tone) + np.array([0.17, 0.095, 0.06]) * tone
    return Material(np.stack([colour, colour]), np.full(2, 0.62 - 0.12 * tone), 0.92)


def hair(random: np.random.Generator) -> Material:
    """Draw hair: dark by day, middling in near infrared."""
    colour = np.array(HAIR_COLOURS[random.choice(5, p=HAIR_CHANCES)])
    waves = random.normal(0, 1, (5, 3)) * np.array([80, 80, 10])
    return Material(
        np.stack([colour, colour * 1.4]),
        np.full(2, random.uniform(0.16, 0.42)),
        0.55,
        wrinkles=waves,
        wrinkle_phase=random.uniform(0, 2 * np.pi, 5),
        wrinkle_depth=0.28,
    )


def cloth(random: np.random.Generator, kind: int, thickness: float = 0.0) -> Material:
    """Draw a garment's, shoe's or bag's cloth.

    Args:
        random: source of chance.
        kind: TOP, BOTTOM, SHOE, HAT, BAG or COAT.
        thickness: metres; thick clothes keep the warmth in.
    """
    lower = kind in (BOTTOM, SHOE)
    ground, ground_kind = _colour(random, lower)
    second, second_kind = _colour(random, lower=False)
    infrared = _infrared(random, ground, ground_kind)
    fading = random.random()
    if fading < 0.2:
        other = infrared * (1 + random.normal(0, 0.05))
    else:
        other = _infrared(random, second, second_kind)
        if fading < 0.4:
            other = infrared + 0.4 * (other - infrared)
    chances = PATTERN_CHANCES.get(kind, (1.0, 0, 0, 0, 0, 0, 0, 0))
    warmth = {TOP: random.uniform(0.35, 0.75) - 6 * thickness, COAT: random.uniform(0.15, 0.4) - 4 * thickness,
              BOTTOM: random.uniform(0.4, 0.75), SHOE: random.uniform(0.2, 0.5), HAT: 0.4, BAG: 0.05}[kind]  # fmt: skip
    return Material(
        colours=np.stack([ground, second]),
        infrared=np.array([infrared, other]),
        warmth=float(np.clip(warmth, 0.03, 0.9)),
        pattern=int(random.choice(len(chances), p=np.array(chances) / sum(chances))),
        scale=random.uniform(0.03, 0.11),
        phase=random.uniform(0, 1, 3),
        wrinkles=random.normal(0, 1, (7, 3)) * np.array([26, 26, 12]),
        wrinkle_phase=random.uniform(0, 2 * np.pi, 7),
        wrinkle_depth=random.uniform(0.08, 0.24),
    )


def pattern(material: Material, points: Float32Array) -> Float32Array:
    """Say how much of the second colour each point of the resting body shows, 0 to 1.

    Args:
        material: the cloth.
        points: (P, 3).
    """
    x, y, z = points.T.astype(np.float64)
    size, phase = material.scale, material.phase
    if material.pattern == STRIPES:
        share = np.mod(z / size + phase[0], 1) < 0.5
    elif material.pattern == PINSTRIPES:
        share = np.mod((x + 0.5 * y) / size + phase[0], 1) < 0.35
    elif material.pattern == PLAID:
        rows, columns = np.mod(z / size + phase[0], 1) < 0.4, np.mod((x + 0.6 * y) / size + phase[1], 1) < 0.4
        share = 0.5 * (rows.astype(float) + columns)
    elif material.pattern == BLOCK:
        share = z > 0.2 + 0.25 * phase[0]
    elif material.pattern == LOGO:
        inside = (np.abs(x + 0.05 * (phase[0] - 0.5)) < 0.05 + 0.08 * phase[1]) & (
            np.abs(z - 0.36) < 0.03 + 0.08 * phase[2]
        )
        print_ = np.sin(90 * x + 20 * phase[1]) + np.sin(80 * z + 9 * phase[0]) > -0.6
        share = inside & print_ & ((y < 0) | (phase[0] > 0.7))
    elif material.pattern == PATCHES:
        waves = np.array([[30, 20, 25], [-22, 31, 40], [50, -20, 15]], float)
        share = np.sin(points @ waves.T + 6 * phase).sum(1) > 0.3
    elif material.pattern == SIDE:
        share = np.abs(x) > 0.155
    else:
        share = np.zeros(len(points), bool)
    return np.asarray(share, np.float32)


def _colour(random: np.random.Generator, lower: bool) -> tuple[Float64Array, str]:
    chance = random.random()
    if lower:
        if chance < 0.3:
            return hsv(
                0.6 + random.normal(0, 0.02), random.uniform(0.35, 0.65), random.uniform(0.12, 0.4)
            ), "denim"
        if chance < 0.62:
            return random.uniform(0.02, 0.07) * np.array([1, 1, 1.05]), "black"
        if chance < 0.85:
            return hsv(
                random.uniform(0.06, 0.14), random.uniform(0.1, 0.4), random.uniform(0.1, 0.5)
            ), "plain"
        return hsv(random.random(), random.uniform(0.1, 0.5), random.uniform(0.08, 0.4)), "plain"
    if chance < 0.25:
        return random.uniform(0.02, 0.08) * np.ones(3), "black"
    if chance < 0.4:
        return random.uniform(0.6, 0.85) * np.ones(3), "white"
    if chance < 0.52:
        return random.uniform(0.12, 0.4) * np.array([1, 1, 1.03]), "grey"
    return hsv(random.random(), random.uniform(0.35, 0.9), random.uniform(0.12, 0.75)), "plain"


def _infrared(random: np.random.Generator, colour: Float64Array, kind: str) -> float:
    if kind == "denim":
        return random.uniform(0.4, 0.65)
    if random.random() < (0.65 if kind == "black" else 0.08):
        return random.uniform(0.05, 0.2)
    return float(np.clip(random.normal(0.47, 0.13) + 0.8 * (colour @ LUMINANCE - 0.3), 0.12, 0.9))
