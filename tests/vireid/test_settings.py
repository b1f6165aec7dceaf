"""Settings: which place wins, and what is said of a key or value that is wrong."""

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from vireid.errors import SettingsError
from vireid.settings import load, parse_assignments

PREFIX = "VIREIDTEST_"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Inner(Part):
    port: int = Field(8080, ge=0, le=65535)
    host: str = "here"


class Limits(Part):
    inner: Inner = Inner()
    batch: int = 4


class Settings(Part):
    name: str = "plain"
    share: float = 0.5
    mode: Literal["slow", "fast"] = "slow"
    verbose: bool = False
    words: tuple[str, ...] = ()
    place: Path = Path("data")
    server: Inner = Inner()
    limits: Limits | None = None
    named: dict[str, Inner] = Field(default_factory=dict)
    secret: SecretStr = SecretStr("none")
    token: str = Field("none", repr=False, max_length=8)


class Needy(Part):
    must: int


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "vireid.toml"
    file.write_text(text)
    return file


def test_defaults() -> None:
    assert load(Settings) == Settings()


def test_the_result_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(Settings).name = "other"


def test_later_places_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toml(tmp_path, 'name = "file"\nshare = 0.1\nmode = "fast"\n[server]\nport = 1\nhost = "file"')
    monkeypatch.setenv("VIREIDTEST_SHARE", "0.2")
    monkeypatch.setenv("VIREIDTEST_SERVER__PORT", "2")
    monkeypatch.setenv("VIREIDTEST_MODE", "slow")
    found = load(
        Settings, file=file, prefix=PREFIX, overrides={"server.port": 3, "mode": None, "verbose": True}
    )
    assert (found.name, found.share, found.mode, found.verbose) == ("file", 0.2, "slow", True)
    assert found.server == Inner(port=3, host="file")


def test_the_environment_counts_only_with_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIREIDTEST_NAME", "env")
    monkeypatch.setenv("OTHER_SHARE", "nonsense")
    assert load(Settings).name == "plain"
    assert load(Settings, prefix=PREFIX).name == "env"


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("VERBOSE", "true", "verbose", True),
        ("VERBOSE", "0", "verbose", False),
        ("SHARE", "1e-3", "share", 0.001),
        ("NAME", "12", "name", "12"),
        ("NAME", "", "name", ""),
        ("WORDS", '["a", "b"]', "words", ("a", "b")),
        ("SERVER", "{port = 7}", "server", Inner(port=7)),
        ("LIMITS__INNER__PORT", "9", "limits", Limits(inner=Inner(port=9))),
        ("NAMED__A__PORT", "9", "named", {"a": Inner(port=9)}),
        ("PLACE", "/data/x", "place", Path("/data/x")),
    ],
)
def test_variables(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, key: str, value: object
) -> None:
    monkeypatch.setenv(PREFIX + variable, text)
    assert getattr(load(Settings, prefix=PREFIX), key) == value


@pytest.mark.parametrize("order", [["SERVER", "SERVER__HOST"], ["SERVER__HOST", "SERVER"]])
def test_a_group_and_its_key(monkeypatch: pytest.MonkeyPatch, order: list[str]) -> None:
    for name in order:
        monkeypatch.setenv(PREFIX + name, "{port = 7}" if name == "SERVER" else "there")
    assert load(Settings, prefix=PREFIX).server == Inner(port=7, host="there")


@pytest.mark.parametrize("order", [["server", "server.port"], ["server.port", "server"]])
def test_a_value_and_its_key_contradict(order: list[str]) -> None:
    with pytest.raises(SettingsError, match="expected one of them"):
        load(Settings, overrides=dict.fromkeys(order, 5))


# ---- unknown keys -----------------------------------------------------------------
def test_unknown_key_in_a_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[server]\nprot = 1")
    with pytest.raises(SettingsError) as caught:
        load(Settings, file=file)
    assert caught.value.message == (f"unknown key 'server.prot' in {file}; did you mean 'server.port'?")
    assert caught.value.metadata == {"key": "server.prot"}


def test_unknown_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIREIDTEST_SERVER__HSOT", "x")
    with pytest.raises(
        SettingsError, match="'VIREIDTEST_SERVER__HSOT'; did you mean 'VIREIDTEST_SERVER__HOST'"
    ):
        load(Settings, prefix=PREFIX)


def test_unknown_group() -> None:
    with pytest.raises(
        SettingsError, match=r"'limits\.iner' on the command line; did you mean 'limits\.inner'\?"
    ):
        load(Settings, overrides={"limits.iner.port": 1})


def test_unknown_flag() -> None:
    with pytest.raises(
        SettingsError, match=r"'limits\.bach' on the command line; did you mean 'limits\.batch"
    ):
        load(Settings, overrides={"limits.bach": 1})


def test_a_key_like_no_other_lists_them_all() -> None:
    with pytest.raises(SettingsError, match=r"known are limits\.batch, limits\.inner\.host.*verbose, words"):
        load(Settings, overrides={"zzzzzz": 1})


def test_unknown_key_inside_a_table_of_models() -> None:
    with pytest.raises(SettingsError, match=r"named\.a\.prot on the command line: .*Extra inputs"):
        load(Settings, overrides={"named": {"a": {"prot": 1}}})


# ---- bad values ---------------------------------------------------------------------
def test_a_bad_value_says_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toml(tmp_path, 'share = "much"\n[server]\nport = 70000')
    monkeypatch.setenv("VIREIDTEST_MODE", "medium")
    with pytest.raises(SettingsError) as caught:
        load(Settings, file=file, prefix=PREFIX, overrides={"limits.batch": "four"})
    assert caught.value.message.split("; ") == [
        f"share in {file}: found 'much'",
        "Input should be a valid number, unable to parse string as a number",
        "VIREIDTEST_MODE: found 'medium'",
        "Input should be 'slow' or 'fast'",
        f"server.port in {file}: found 70000",
        "Input should be less than or equal to 65535",
        "limits.batch on the command line: found 'four'",
        "Input should be a valid integer, unable to parse string as an integer",
    ]


def test_a_value_where_a_group_belongs() -> None:
    with pytest.raises(
        SettingsError, match="server on the command line: found 5; Input should be a valid dict"
    ):
        load(Settings, overrides={"server": 5})


def test_a_missing_value() -> None:
    with pytest.raises(SettingsError, match="must: found nothing; expected a value"):
        load(Needy)


def test_long_values_are_cut() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Settings, overrides={"share": "x" * 5000})
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(("key", "value"), [("secret", ["hunter2"]), ("token", "hunter2hunter2")])
def test_secrets_are_not_repeated(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{key} on the command line: found a secret") as caught:
        load(Settings, overrides={key: value})
    assert "hunter2" not in caught.value.message


# ---- files --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"name = ", "no readable TOML"),
        (b"name = 'a'\nname = 'b'", "no readable TOML"),
        (b"\xff\xfe", "no readable TOML"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, match: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=match):
        load(Settings, file=file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no settings file"):
        load(Settings, file=tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="no readable TOML"):
        load(Settings, file=tmp_path)


# ---- assignments ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "parsed"),
    [
        ("a=1", {"a": 1}),
        ("a.b = true", {"a.b": True}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a=plain words", {"a": "plain words"}),
        ('a="1"', {"a": "1"}),
        ("a=x=y", {"a": "x=y"}),
        ("a=", {"a": ""}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
    ],
)
def test_assignments(word: str, parsed: dict[str, Any]) -> None:
    assert parse_assignments([word]) == parsed


@pytest.mark.parametrize("word", ["a", "=1", " =1", ""])
def test_words_that_assign_nothing(word: str) -> None:
    with pytest.raises(SettingsError, match="expected key=value"):
        parse_assignments([word])


KEYS = st.sampled_from(["name", "share", "server.port", "server.host", "limits.batch", "limits.inner.port"])
VALUES = {"name": "n", "share": 0.25, "server.port": 5, "server.host": "h"}


@given(file=st.sets(KEYS), flags=st.sets(KEYS))
def test_flags_beat_files_key_by_key(
    tmp_path_factory: pytest.TempPathFactory, file: set[str], flags: set[str]
) -> None:
    def value(key: str, number: int) -> object:
        return str(number) if key in {"name", "server.host"} else number

    lines = "\n".join(f"{key} = {value(key, 1)!r}" for key in sorted(file))
    place = toml(tmp_path_factory.mktemp("law"), lines)
    found = load(Settings, file=place, overrides={key: value(key, 2) for key in flags}).model_dump()
    plain = Settings(limits=Limits()).model_dump()
    for key in ["name", "share", "server.port", "server.host", "limits.batch", "limits.inner.port"]:
        at, default = found, plain
        for part in key.split("."):
            at, default = (at or plain["limits"])[part], default[part]
        expected = value(key, 2) if key in flags else value(key, 1) if key in file else default
        assert at == expected
