"""The three presets: which cameras, which kind, how hard. A dict one can read."""

from dataclasses import dataclass

from vireid.datasets.synthetic.camera import Hardness, Kind
from vireid.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Preset:
    """A dataset to be drawn.

    Attributes:
        name: as on the command line.
        layout: whose folders it is written in.
        cameras: number and kind of each.
        hardness: of its cameras.
        images: of one person in one camera, unless asked otherwise.
    """

    name: str
    layout: str
    cameras: tuple[tuple[int, Kind], ...]
    hardness: Hardness
    images: int


def _cameras(visible: tuple[int, ...], infrared: tuple[int, ...], kind: Kind) -> tuple[tuple[int, Kind], ...]:
    return tuple((n, Kind.VISIBLE) for n in visible) + tuple((n, kind) for n in infrared)


# LLCM's two views of one camera share its number: a person is seen by camera n by day and by night.
PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("sysu-like", "sysu-mm01", _cameras((1, 2, 4, 5), (3, 6), Kind.NEAR_INFRARED), Hardness(), 4),
        Preset(
            "llcm-like",
            "llcm",
            _cameras((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 4, 5, 6, 7, 8, 9), Kind.NEAR_INFRARED),
            Hardness(noise=2.2, cast=0.4, shot_cast=0.28, grey=0.4, dark=1.9, blur=1.3, infrared_noise=0.6),
            2,
        ),
        Preset("regdb-like", "regdb", _cameras((1,), (2,), Kind.THERMAL), Hardness(), 10),
    )
}


def preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if name not in PRESETS:
        raise InvalidRequest(f"there is no preset {name!r}; known are {', '.join(PRESETS)}", field="preset")
    return PRESETS[name]
