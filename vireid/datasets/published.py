"""How many images and identities the published datasets hold; counts only, never their lists.

Derived from the lists the datasets' owners distribute; they add up to every total in the papers, but for LLCM's
"13,909 test boxes", which the lists contradict.
"""

from collections.abc import Mapping

from vireid.datasets import llcm, market1501, msmt17, regdb, sysu
from vireid.types import Modality

# (part, modality, camera) -> images; part is "train" or "test"
Counts = Mapping[tuple[str, Modality, int], int]

_V, _I = Modality.VISIBLE, Modality.INFRARED


def _row(part: str, modality: Modality, images: Mapping[int, int]) -> Counts:
    return {(part, modality, camera): n for camera, n in images.items()}


PERSONS: Mapping[str, Mapping[str, int]] = {
    sysu.NAME: {"train": 395, "test": 96},
    regdb.NAME: {"train": 206, "test": 206},
    llcm.NAME: {"train": 713, "test": 351},
    market1501.NAME: {"train": 751, "test": 751},  # the distractors count as one
    msmt17.NAME: {"train": 1041, "test": 3060},
}

# split -> images, of the sources; Market-1501's gallery without its 3,819 junk images
SPLITS: Mapping[str, Mapping[str, int]] = {
    market1501.NAME: {"train": 12936, "query": 3368, "gallery": 15913},
    msmt17.NAME: {"train": 32621, "query": 11659, "gallery": 82161},
}

IMAGES: Mapping[str, Counts] = {
    sysu.NAME: {
        **_row("train", _V, {1: 4721, 2: 5753, 4: 5811, 5: 5973}),
        **_row("train", _I, {3: 7909, 6: 4000}),
        **_row("test", _V, {1: 1374, 2: 1565, 4: 1918, 5: 1918}),
        **_row("test", _I, {3: 1883, 6: 1920}),
    },
    regdb.NAME: {
        **_row("train", _V, {1: 2060}),
        **_row("train", _I, {2: 2060}),
        **_row("test", _V, {1: 2060}),
        **_row("test", _I, {2: 2060}),
    },
    llcm.NAME: {
        **_row("train", _V, {1: 290, 2: 39, 3: 5733, 4: 5769, 5: 3728, 6: 14, 7: 571, 8: 633, 9: 169}),
        **_row("train", _I, {1: 53, 2: 98, 4: 74, 5: 4291, 6: 8436, 7: 431, 8: 456, 9: 136}),
        **_row("test", _V, {1: 139, 2: 12, 3: 2773, 4: 3063, 5: 1994, 6: 18, 7: 345, 8: 252, 9: 84}),
        **_row("test", _I, {1: 19, 2: 47, 4: 58, 5: 2119, 6: 4276, 7: 217, 8: 311, 9: 119}),
    },
}
