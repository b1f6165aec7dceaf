"""One loader of settings: a TOML file, then the environment, then flags; each later one wins.

Unknown keys are errors that name the nearest known one. The only module that reads the environment.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from vireid.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)
NESTING = "__"


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
    values: dict[str, Any] = {}
    if file is not None:
        _merge(values, _known(model, _read(file), str(file)))
    if prefix:
        _merge(values, _known(model, _environment(prefix), f"the environment ({prefix}...)"))
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    _merge(values, _known(model, _nested(flags), "the command line"))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(entry) for entry in error.errors())) from None


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
        try:
            parsed[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key.strip()] = text
    return parsed


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
    return _nested({key: _plain(value) for key, value in found.items()})


def _plain(text: str) -> Any:
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        at = tree
        *parents, last = key.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise SettingsError(f"{key!r}: {parent!r} is a value, not a group")
        at[last] = value
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _known(model: type[BaseModel], values: Mapping[str, Any], source: str) -> dict[str, Any]:
    for key in _unknown(model, values):
        near = difflib.get_close_matches(key, list(_keys(model)), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(_keys(model)))}"
        raise SettingsError(f"{source} has the unknown key {key!r}{hint}", metadata={"key": key})
    return dict(values)


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


def _inner(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    annotation = model.model_fields[key].annotation
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _explain(entry: Any) -> str:
    where = ".".join(str(part) for part in entry["loc"]) or "settings"
    return f"{where}: found {entry['input']!r}; {entry['msg']}"
