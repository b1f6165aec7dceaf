"""The field's protocols by name: who asks, who is found, what is drawn and ignored, how ranks are counted.

Sources and pitfalls are in docs/protocols.md. Knows no files and no features.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from vireid.datasets import folder, llcm, regdb, sysu
from vireid.errors import EvaluationError
from vireid.evaluation.metrics import CmcLevel, Rule

Draw = Literal["none", "python", "official"]
Side = Literal["query", "gallery"]

_RULES: Mapping[Rule, str] = {
    "sysu": "camera 3 queries ignore every image of camera 2",
    "market": "a query ignores its own person's images in its own camera",
    "none": "nothing is ignored",
}
_LEVELS: Mapping[CmcLevel, str] = {"identity": "ranks count persons", "image": "ranks count images"}
_DRAWS: Mapping[Draw, str] = {
    "none": "",
    "python": "random.seed(trial)",
    "official": "rand_perm_cam.mat",
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a dataset is asked and how the answers are counted.

    Attributes:
        name: for example ``sysu-mm01/all/single``.
        dataset: the dataset it belongs to.
        asks: what the queries are, in words.
        finds: what the gallery is, in words.
        turned: whether the dataset's gallery images ask and its query images are found.
        cameras: cameras of the gallery; none means all.
        draw: how a trial's images are drawn; ``none`` takes every image.
        drawn: the side that is drawn.
        shots: images drawn per person and camera.
        trials: their numbers; seeds of the python draw, rows of the official one, RegDB's identity split.
        rule: what a query must not see.
        cmc: whether ranks count persons or images.
    """

    name: str
    dataset: str
    asks: str
    finds: str
    turned: bool = False
    cameras: tuple[int, ...] = ()
    draw: Draw = "none"
    drawn: Side = "gallery"
    shots: int = 1
    trials: tuple[int, ...] = (0,)
    rule: Rule = "none"
    cmc: CmcLevel = "identity"

    def __str__(self) -> str:
        """Tell the protocol in words."""
        cameras = f" of cameras {', '.join(map(str, self.cameras))}" if self.cameras else ""
        drawn = ""
        if self.draw != "none":
            numbers = f"trials {self.trials[0]} to {self.trials[-1]}"
            if len(self.trials) == 1:
                numbers = f"trial {self.trials[0]}"
            drawn = (
                f"; the {self.drawn} is drawn: {self.shots} per person and camera, "
                f"{_DRAWS[self.draw]}, {numbers}"
            )
        elif self.dataset == regdb.NAME:
            drawn = f"; identity split {self.trials[0]}"
        return (
            f"{self.name}: {self.asks} ask, {self.finds}{cameras} are found{drawn}; "
            f"{_RULES[self.rule]}; {_LEVELS[self.cmc]}"
        )


def sysu_mm01(mode: str = "all", shots: int = 1, draw: Draw = "python", trials: int = 10) -> Protocol:
    """SYSU-MM01: infrared queries of cameras 3 and 6; a drawn gallery of cameras 1, 2, 4, 5 or, indoor, 1, 2.

    Raises:
        EvaluationError: an unknown mode or draw, or shots or trials out of range.
    """
    cameras = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
    _one_of("mode", mode, cameras)
    _one_of("draw", draw, [d for d in get_args(Draw) if d != "none"])
    _positive(shots=shots, trials=trials)
    if draw == "official" and trials > sysu.OFFICIAL_TRIALS:
        raise EvaluationError(f"the official draw has {sysu.OFFICIAL_TRIALS} trials, not {trials}")
    first = 0 if draw == "python" else 1
    word = {1: "single"}.get(shots, "multi" if shots == 10 else f"{shots}-shot")
    return Protocol(
        name=f"{sysu.NAME}/{mode}/{word}",
        dataset=sysu.NAME,
        asks="all infrared images",
        finds="visible images",
        cameras=cameras[mode],
        draw=draw,
        shots=shots,
        trials=tuple(range(first, first + trials)),
        rule="sysu",
        cmc="identity",
    )


def regdb_split(mode: str = "visible-to-thermal", trial: int = 1, cmc: CmcLevel = "image") -> Protocol:
    """RegDB: every test image of one modality against every one of the other, in one identity split.

    The ten trials of the literature are ten models, each trained on its own split: evaluate each by itself.

    Raises:
        EvaluationError: an unknown direction, level or split.
    """
    _one_of("mode", mode, MODES[regdb.NAME])
    _one_of("cmc", cmc, get_args(CmcLevel))
    if not 1 <= trial <= regdb.TRIALS:
        raise EvaluationError(f"RegDB has identity splits 1 to {regdb.TRIALS}, not {trial}")
    turned = mode == "visible-to-thermal"
    return Protocol(
        name=f"{regdb.NAME}/{mode}",
        dataset=regdb.NAME,
        asks="all visible images" if turned else "all thermal images",
        finds="all thermal images" if turned else "all visible images",
        turned=turned,
        trials=(trial,),
        rule="none",
        cmc=cmc,
    )


def llcm_search(mode: str = "ir2vis", trials: int = 10) -> Protocol:
    """LLCM: a drawn gallery of one image per person and camera, in one of three directions.

    ``vis2ir_v1`` asks with every visible image for drawn infrared ones. ``vis2ir_v2`` is what the authors'
    test script does since June 2023 under the name visible-to-infrared: the drawn infrared images ask for
    every visible image. Their scores differ by ten points and more.

    Raises:
        EvaluationError: an unknown direction or no trial.
    """
    _one_of("mode", mode, MODES[llcm.NAME])
    _positive(trials=trials)
    infrared, visible = "near-infrared images", "visible images"
    turned = mode == "vis2ir_v1"
    asks, finds = (f"all {visible}", infrared) if turned else (f"all {infrared}", visible)
    if mode == "vis2ir_v2":
        asks, finds = infrared, f"all {visible}"
    return Protocol(
        name=f"{llcm.NAME}/{mode}",
        dataset=llcm.NAME,
        asks=asks,
        finds=finds,
        turned=turned,
        draw="python",
        drawn="query" if mode == "vis2ir_v2" else "gallery",
        trials=tuple(range(trials)),
        rule="market",
        cmc="identity",
    )


def cross_camera(mode: str = "cross-camera") -> Protocol:
    """A labelled folder: every query against every gallery image of another camera or person.

    Raises:
        EvaluationError: an unknown mode.
    """
    _one_of("mode", mode, MODES[folder.NAME])
    return Protocol(
        name=f"{folder.NAME}/{mode}",
        dataset=folder.NAME,
        asks="all query images",
        finds="all gallery images",
        rule="market",
        cmc="image",
    )


# dataset -> the modes its protocol function takes, the usual one first
MODES: Mapping[str, tuple[str, ...]] = {
    sysu.NAME: ("all", "indoor"),
    regdb.NAME: ("visible-to-thermal", "thermal-to-visible"),
    llcm.NAME: ("ir2vis", "vis2ir_v1", "vis2ir_v2"),
    folder.NAME: ("cross-camera",),
}

# dataset -> its protocol function
PROTOCOLS: Mapping[str, Callable[..., Protocol]] = {
    sysu.NAME: sysu_mm01,
    regdb.NAME: regdb_split,
    llcm.NAME: llcm_search,
    folder.NAME: cross_camera,
}


def choose(dataset: str, **options: str | int | None) -> Protocol:
    """Return a dataset's protocol; options left None keep its usual value.

    Raises:
        EvaluationError: an unknown dataset, an option its protocols do not have, or a value out of range.
    """
    _one_of("dataset", dataset, PROTOCOLS)
    given = {name: value for name, value in options.items() if value is not None}
    takes = inspect.signature(PROTOCOLS[dataset]).parameters
    foreign = [name for name in given if name not in takes]
    if foreign:
        raise EvaluationError(
            f"the protocols of {dataset} have no {', '.join(foreign)}; they take {', '.join(takes)}"
        )
    return PROTOCOLS[dataset](**given)


def _one_of(what: str, word: str, words: Collection[str]) -> None:
    if word not in words:
        raise EvaluationError(f"{what} is one of {', '.join(words)}, not {word!r}")


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise EvaluationError(f"{name} is at least 1, not {number}")
