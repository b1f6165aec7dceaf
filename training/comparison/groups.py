"""Which runs are put together, and which may stand in one table. Knows no words of a page and no pictures.

Runs of one recipe that differ in their seed, or in the identity split or the drawn people they were given, are one group: mean
and deviation. Groups stand in one table only if the same protocol scored them on the same data, set for set.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.comparison.measured import Measured
from training.settings import IDLE, SEEDS


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Runs of one recipe.

    Attributes:
        runs: at least one.
        recipe: what they have in common, by dotted key.
    """

    runs: tuple[Measured, ...]
    recipe: Mapping[str, Any]

    @property
    def first(self) -> Measured:
        """One of them, for what all have in common."""
        return self.runs[0]


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Groups that were measured alike.

    Attributes:
        groups: at least one, in the order they were named.
        protocol: that scored them.
        data: the sets they were trained and scored on.
    """

    groups: tuple[Group, ...]
    protocol: Mapping[str, Any]
    data: tuple[Mapping[str, Any], ...]

    @property
    def synthetic(self) -> bool:
        """Whether their people were drawn."""
        return any(bool(each["synthetic"]) for each in self.data)


def grouped(runs: Iterable[Measured]) -> tuple[Group, ...]:
    """Put runs of one recipe together that began alike and were scored by one protocol."""
    found: dict[str, list[Measured]] = {}
    recipes: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        recipe = _recipe(run)
        key = _key([recipe, run.protocol, run.data["dataset"], run.data["synthetic"]])
        found.setdefault(key, []).append(run)
        recipes[key] = recipe
    return tuple(Group(tuple(members), recipes[key]) for key, members in found.items())


def sections(groups: Iterable[Group]) -> tuple[Section, ...]:
    """Part groups by how and on what they were measured."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(_key([group.first.protocol, _sets(group)]), []).append(group)
    return tuple(
        Section(tuple(members), members[0].first.protocol, tuple(_sets(members[0])))
        for members in found.values()
    )


def apart(groups: Sequence[Group]) -> tuple[Mapping[str, Any], ...]:
    """Tell what of their recipes sets groups apart; keys that one of them lacks are None."""
    keys = [
        key
        for key in dict.fromkeys(key for group in groups for key in group.recipe)
        if key not in IDLE or all(key in group.recipe for group in groups)
    ]
    differing = [key for key in keys if len({_key(group.recipe.get(key)) for group in groups}) > 1]
    return tuple({key: group.recipe.get(key) for key in differing} for group in groups)


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested values by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _recipe(run: Measured) -> dict[str, Any]:
    told = flat(run.settings.model_dump(mode="json"))
    # the best of other epochs is another one
    idle = [key for key in IDLE if run.settings.select == "last" or key != "evaluate_every"]
    kept = {key: value for key, value in told.items() if key not in (*SEEDS, *idle)}
    return {
        **kept,
        "start": run.origin.get("start", ""),
        "source": run.origin.get("source", {}).get("name", ""),
        "first stage": _first_stage(run),
    }


def _first_stage(run: Measured) -> str:
    """Say who made the labels a run took: it may be a run that no recipe names."""
    told = run.origin.get("stage1")
    if told is None:
        return ""
    source = f", with {told['source']}" if "source" in told else ""
    # whatever else its recipe was, seeds of one recipe are one
    recipe = f", recipe {told['recipe_sha256'][:6]}" if "recipe_sha256" in told else ""
    return f"{told.get('method', '')}, {told.get('epochs', 0)} epochs{source}{recipe}"


def _sets(group: Group) -> list[Mapping[str, Any]]:
    """Return the sets of data of a group, each once, in one order."""
    found = {_key(run.data): run.data for run in group.runs}
    return [found[key] for key in sorted(found)]


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)
