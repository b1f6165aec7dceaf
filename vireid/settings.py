"""One loader of settings: a TOML file, then the environment, then flags; each later one wins.

Unknown keys are errors that name the nearest known one; bad values name where they came from. The only module that reads the
environment. Knows no setting by name.
"""

import difflib
import os
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from vireid.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)
NESTING = "__"
LONGEST_VALUE = 80  # characters of a bad value that a message repeats


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values from one place, how that place spells a dotted key, and the place in words."""

    values: dict[str, Any]
    spell: Callable[[str], str]
    place: str = ""

    def name(self, key: str) -> str:
        """Name a key so that it can be found."""
        return self.spell(key) + self.place


def load(
    model: type[Model],
    *,
    file: Path | None = None,
    prefix: str = "",
    overrides: Mapping[str, Any] | None = None,
) -> Model:
    """Build settings from a file, the environment and flags.

    Args:
        model: the settings' shape; frozen, ``extra="forbid"``.
        file: a TOML file, or None.
        prefix: of the environment's variables, for example ``VIREID_``: ``VIREID_HTTP_PORT`` sets ``http_port`` and
            ``VIREID_A__B`` sets ``a.b``; empty: the environment is not read.
        overrides: dotted keys to values; None values are left out.

    Raises:
        SettingsError: an unknown key, a bad value, or an unreadable file.
    """
    layers = []
    if file is not None:
        layers.append(_Layer(_read(file), str, f" in {file}"))
    if prefix:
        layers.append(_Layer(_environment(prefix), lambda key: prefix + key.upper().replace(".", NESTING)))
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    layers.append(_Layer(_nested(flags), str, " on the command line"))
    values: dict[str, Any] = {}
    for layer in layers:
        _refuse_unknown(model, layer)
        _merge(values, layer.values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(entry, model, layers) for entry in error.errors())) from None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Read ``key=value`` words; values are TOML where they parse as such, else plain strings.

    Raises:
        SettingsError: a word has no ``=``.
    """
    parsed: dict[str, Any] = {}
    for word in assignments:
        key, sign, text = word.partition("=")
        if not sign or not key.strip():
            raise SettingsError(f"found {word!r}; expected key=value")
        parsed[key.strip()] = _toml(text)
    return parsed


# ---- places -------------------------------------------------------------------
def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no settings file {file}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} is no readable TOML: {error}") from None


def _environment(prefix: str) -> dict[str, Any]:
    found = {
        name[len(prefix) :].lower().replace(NESTING, "."): value
        for name, value in os.environ.items()  # noqa: TID251 - this module is where the environment is read
        if name.startswith(prefix)
    }
    # numbers and booleans are read by the model; only lists and tables need TOML
    return _nested(
        {key: _toml(value) if value.startswith(("[", "{")) else value for key, value in found.items()}
    )


def _toml(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into a tree; a group given whole comes before its single keys."""
    tree: dict[str, Any] = {}
    for key, value in sorted(flat.items(), key=lambda item: item[0].count(".")):
        at = tree
        *parents, last = key.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise SettingsError(
                    f"{key!r} is set, and {parent!r} is set to a single value; expected one of them"
                )
        at[last] = dict(value) if isinstance(value, Mapping) else value
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


# ---- keys -----------------------------------------------------------------------
def _refuse_unknown(model: type[BaseModel], layer: _Layer) -> None:
    for key in _unknown(model, layer.values):
        known = sorted(_keys(model))
        near = difflib.get_close_matches(key, {*known, *_groups(known)}, n=1, cutoff=0.5)
        listed = ", ".join(layer.spell(word) for word in known)
        hint = f"did you mean {layer.spell(near[0])!r}?" if near else f"known are {listed}"
        raise SettingsError(f"unknown key {layer.spell(key)!r}{layer.place}; {hint}", metadata={"key": key})


def _unknown(model: type[BaseModel], values: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key, value in values.items():
        if key not in model.model_fields:
            yield f"{at}{key}"
        else:
            inner = _inner(model, key)
            if inner is not None and isinstance(value, Mapping):
                yield from _unknown(inner, value, f"{at}{key}.")


def _keys(model: type[BaseModel], at: str = "") -> Iterator[str]:
    for key in model.model_fields:
        inner = _inner(model, key)
        if inner is None:
            yield f"{at}{key}"
        else:
            yield from _keys(inner, f"{at}{key}.")


def _groups(keys: Iterable[str]) -> set[str]:
    """Return what keys stand in: of ``a.b.c`` both ``a`` and ``a.b``."""
    return {key[:at] for key in keys for at, sign in enumerate(key) if sign == "."}


def _inner(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model that a field holds, itself or ``| None``."""
    annotation = model.model_fields[key].annotation
    union = get_origin(annotation) in {Union, types.UnionType}
    for kind in get_args(annotation) if union else (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


# ---- values ---------------------------------------------------------------------
def _explain(entry: Any, model: type[BaseModel], layers: list[_Layer]) -> str:
    path = [str(part) for part in entry["loc"]]
    where = ".".join(path) or "settings"
    for layer in reversed(layers):
        depth = _depth(layer.values, path)
        if path and depth:
            where = layer.name(".".join(path[:depth]))
            break
    if entry["type"] == "missing":
        return f"{where}: found nothing; expected a value"
    if _is_secret(model, path):
        return f"{where}: found a secret that is not taken; {entry['msg']}"
    found = repr(entry["input"])
    short = found if len(found) <= LONGEST_VALUE else f"{found[:LONGEST_VALUE]}..."
    return f"{where}: found {short}; {entry['msg']}"


def _depth(values: Any, path: list[str]) -> int:
    """Count how much of a path a layer set."""
    for depth, part in enumerate(path):
        if not isinstance(values, Mapping) or part not in values:
            return depth
        values = values[part]
    return len(path)


def _is_secret(model: type[BaseModel] | None, path: list[str]) -> bool:
    """Whether a field is a secret: of ``SecretStr``, or declared with ``repr=False``."""
    for part in path:
        if model is None or part not in model.model_fields:
            return False
        field = model.model_fields[part]
        kinds = (field.annotation, *get_args(field.annotation))
        if not field.repr or SecretStr in kinds:
            return True
        model = _inner(model, part)
    return False
