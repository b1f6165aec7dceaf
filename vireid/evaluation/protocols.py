"""The field's protocols by name: who asks, who is found, what is drawn and ignored, how ranks are counted.

Sources and pitfalls are in docs/protocols.md. Knows no files and no features.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, get_args

from vireid.datasets import folder, llcm, regdb, sysu
from vireid.errors import EvaluationError
from vireid.evaluation.metrics import CmcLevel, Rule
from vireid.evaluation.protocol import Draw, Flip, Protocol, Rerank
from vireid.types import Modality

Option = str | int | Rerank | None


def sysu_mm01(
    mode: str = "all",
    shots: int = 1,
    draw: Draw = "python",
    trials: int = 10,
    rule: Rule = "sysu",
    cmc: CmcLevel = "identity",
) -> Protocol:
    """SYSU-MM01: infrared queries of cameras 3 and 6; a drawn gallery of cameras 1, 2, 4, 5 or, indoor, 1, 2.

    The python draw of several images is ``random.sample``; it is named ``python-multi-shot`` in the result,
    because most who use the python draw have no multi-shot at all.

    Raises:
        EvaluationError: an unknown mode, draw, rule or level, or shots or trials out of range.
    """
    cameras = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
    _one_of("mode", mode, cameras)
    _one_of("draw", draw, [d for d in get_args(Draw) if d != "none"])
    _positive(shots=shots, trials=trials)
    if draw == "official" and trials > sysu.OFFICIAL_TRIALS:
        raise EvaluationError(f"the official draw has {sysu.OFFICIAL_TRIALS} trials, not {trials}")
    first = 1 if draw == "official" else 0
    word = {1: "single"}.get(shots, "multi" if shots == 10 else f"{shots}-shot")
    return _protocol(
        name=f"{sysu.NAME}/{mode}/{word}",
        dataset=sysu.NAME,
        mode=mode,
        asks="all infrared images",
        finds="visible images",
        query_modality=Modality.INFRARED,
        gallery_modality=Modality.VISIBLE,
        query_cameras=(3, 6),
        cameras=cameras[mode],
        draw="python-multi-shot" if draw == "python" and shots > 1 else draw,
        shots=shots,
        trials=tuple(range(first, first + trials)),
        rule=rule,
        cmc=cmc,
    )


def regdb_split(
    mode: str = "visible-to-thermal", trial: int = 1, rule: Rule = "none", cmc: CmcLevel = "image"
) -> Protocol:
    """RegDB: every test image of one modality against every one of the other, in one identity split.

    The ten trials of the literature are ten models, each trained on its own split. Trial 0 stands for all
    ten of them: one result whose trials are the splits, from features of ten models.

    Raises:
        EvaluationError: an unknown direction, level, rule or split.
    """
    _one_of("mode", mode, MODES[regdb.NAME])
    if not 0 <= trial <= regdb.TRIALS:
        raise EvaluationError(f"RegDB has identity splits 1 to {regdb.TRIALS} (0 for all), not {trial}")
    turned = mode == "visible-to-thermal"
    return _protocol(
        name=f"{regdb.NAME}/{mode}",
        dataset=regdb.NAME,
        mode=mode,
        asks="all visible images" if turned else "all thermal images",
        finds="all thermal images" if turned else "all visible images",
        query_modality=Modality.VISIBLE if turned else Modality.INFRARED,
        gallery_modality=Modality.INFRARED if turned else Modality.VISIBLE,
        turned=turned,
        trials=(trial,) if trial else tuple(range(1, regdb.TRIALS + 1)),
        splits=regdb.TRIALS,
        rule=rule,
        cmc=cmc,
    )


def llcm_search(
    mode: str = "ir2vis", trials: int = 10, rule: Rule = "market", cmc: CmcLevel = "identity"
) -> Protocol:
    """LLCM: a drawn gallery of one image per person and camera, in one of three directions.

    ``vis2ir_v1`` asks with every visible image for drawn infrared ones. ``vis2ir_v2`` is what the authors'
    test script does since June 2023 under the name visible-to-infrared: the drawn infrared images ask for
    every visible image. Their scores differ by ten points and more.

    Raises:
        EvaluationError: an unknown direction, rule or level, or no trial.
    """
    _one_of("mode", mode, MODES[llcm.NAME])
    _positive(trials=trials)
    infrared, visible = "near-infrared images", "visible images"
    turned = mode == "vis2ir_v1"
    asks, finds = (f"all {visible}", infrared) if turned else (f"all {infrared}", visible)
    if mode == "vis2ir_v2":
        asks, finds = infrared, f"all {visible}"
    return _protocol(
        name=f"{llcm.NAME}/{mode}",
        dataset=llcm.NAME,
        mode=mode,
        asks=asks,
        finds=finds,
        query_modality=Modality.VISIBLE if turned else Modality.INFRARED,
        gallery_modality=Modality.INFRARED if turned else Modality.VISIBLE,
        turned=turned,
        draw="python",
        drawn="query" if mode == "vis2ir_v2" else "gallery",
        trials=tuple(range(trials)),
        rule=rule,
        cmc=cmc,
    )


def cross_camera(mode: str = "cross-camera", rule: Rule = "market", cmc: CmcLevel = "image") -> Protocol:
    """A labelled folder: every query against every gallery image of another camera or person.

    Raises:
        EvaluationError: an unknown mode, rule or level.
    """
    _one_of("mode", mode, MODES[folder.NAME])
    return _protocol(
        name=f"{folder.NAME}/{mode}",
        dataset=folder.NAME,
        mode=mode,
        asks="all query images",
        finds="all gallery images",
        rule=rule,
        cmc=cmc,
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

# named protocol -> dataset and what sets it apart; the first of a dataset is its usual one
PRESETS: Mapping[str, tuple[str, Mapping[str, str | int]]] = {
    "sysu-mm01/agw": (sysu.NAME, {"draw": "python"}),
    "sysu-mm01/official": (sysu.NAME, {"draw": "official"}),
    "regdb": (regdb.NAME, {}),
    "llcm/ir2vis": (llcm.NAME, {"mode": "ir2vis"}),
    "llcm/v1": (llcm.NAME, {"mode": "vis2ir_v1"}),
    "llcm/v2": (llcm.NAME, {"mode": "vis2ir_v2"}),
    "folder": (folder.NAME, {}),
}

_SHARED = ("flip", "rerank")  # options of every protocol


def preset(name: str, **options: Option) -> Protocol:
    """Return a named protocol; options that are not None override single choices and are told in its words.

    Raises:
        EvaluationError: an unknown name, an option it does not have, or a value out of range.
    """
    _one_of("protocol", name, PRESETS)
    dataset, own = PRESETS[name]
    given = {key: value for key, value in options.items() if value is not None}
    takes = inspect.signature(PROTOCOLS[dataset]).parameters
    foreign = [key for key in given if key not in takes and key not in _SHARED]
    if foreign:
        raise EvaluationError(
            f"the protocols of {dataset} have no {', '.join(foreign)}; "
            f"they take {', '.join((*takes, *_SHARED))}"
        )
    usual: dict[str, Any] = {key: p.default for key, p in takes.items()}
    usual |= {"flip": "none", "rerank": None, **own}
    asked = usual | given
    shared = {key: asked.pop(key) for key in _SHARED}
    _one_of("flip", shared["flip"], get_args(Flip))
    changed = tuple(
        f"{key} {'k-reciprocal' if isinstance(value, Rerank) else value}"
        for key, value in given.items()
        if value != usual[key] and key != "trial"  # which split a model is for is no departure
    )
    return replace(PROTOCOLS[dataset](**asked), preset=name, changed=changed, **shared)


def choose(dataset: str, **options: Option) -> Protocol:
    """Return a dataset's protocol; options left None keep the choice of its usual preset.

    Where the options are those of another preset, it is that one that is named.

    Raises:
        EvaluationError: an unknown dataset, an option its protocols do not have, or a value out of range.
    """
    _one_of("dataset", dataset, PROTOCOLS)
    mine = {name: own for name, (of, own) in PRESETS.items() if of == dataset}
    meant = [name for name, own in mine.items() if all(options.get(key) == own[key] for key in own)]
    return preset((meant or list(mine))[0], **options)


def _protocol(**choices: Any) -> Protocol:
    _one_of("rule", choices["rule"], get_args(Rule))
    _one_of("cmc", choices["cmc"], get_args(CmcLevel))
    return Protocol(**choices)


def _one_of(what: str, word: str, words: Collection[str]) -> None:
    if word not in words:
        raise EvaluationError(f"{what} is one of {', '.join(words)}, not {word!r}")


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise EvaluationError(f"{name} is at least 1, not {number}")
