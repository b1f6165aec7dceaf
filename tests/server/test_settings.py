"""The server's settings, from a file, the environment and flags."""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from server.settings import PREFIX, ServerSettings
from vireid import settings as loader
from vireid.errors import SettingsError


def test_each_later_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "server.toml"
    file.write_text('http_port = 1000\ngrpc_port = 1001\nmax_batch = 2\nbundle = "fake"\n')
    monkeypatch.setenv("VIREID_GRPC_PORT", "2001")
    monkeypatch.setenv("VIREID_MAX_BATCH", "3")
    found = loader.load(ServerSettings, file=file, prefix=PREFIX, overrides={"max_batch": 1, "host": None})
    assert (found.http_port, found.grpc_port, found.max_batch, found.host) == (1000, 2001, 1, "127.0.0.1")


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIREID_API_KEYS", "one-key, another-key ,")
    found = loader.load(ServerSettings, prefix=PREFIX).api_keys
    assert [key.get_secret_value() for key in found] == ["one-key", "another-key"]


SECRET = "hunter2-hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'api_keys = {{ first = "{SECRET}" }}',
        f'api_keys = ["{SECRET}", ["{SECRET}"]]',
        f'api_key_hashes = {{ first = "{SECRET}" }}',
        f'api_key_hashes = [["{SECRET}"]]',
        f'api_keys = ["{SECRET}"]\nhttp_port = 70000',
        f'api_keys = ["{SECRET}"]\nhtp_port = 70',
        f'api_keys = ["{SECRET}"\n',
        f'api_keys = "{SECRET}" "{SECRET}"',
        f'api_key = "{SECRET}"',
    ],
)
def test_an_error_never_repeats_a_key(tmp_path: Path, text: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        loader.load(ServerSettings, file=file)
    assert "server.toml" in caught.value.message
    assert "hunter2" not in f"{caught.value!r} {caught.value.message} {caught.value.metadata}"


def test_printed_settings_do_not_tell_keys() -> None:
    found = ServerSettings.model_validate({"api_keys": SECRET, "api_key_hashes": "ab" * 32})
    assert [key.get_secret_value() for key in found.api_keys] == [SECRET]
    for text in (repr(found), str(found), found.model_dump_json(exclude={"api_key_hashes"})):
        assert "hunter2" not in text
        assert "abab" not in text


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="http_port"):
        loader.load(ServerSettings, overrides={"htp_port": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [("http_port", 65536), ("http_port", -1), ("max_batch", -1), ("queue_limit", 0), ("timeout_s", 0), ("timeout_s", "inf"),
     ("drain_s", "inf"), ("drain_s", "nan"), ("drain_s", -1),
     ("device", "tpu"), ("backend", "magic"), ("log_level", "loud"), ("workers", -1), ("max_upload_bytes", 5)],
)  # fmt: skip
def test_values_out_of_range(key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=key):
        loader.load(ServerSettings, overrides={key: value})


def test_safe_by_default() -> None:
    found = ServerSettings()
    assert found.host == "127.0.0.1"
    assert not found.insecure_no_auth


def test_two_transports_need_two_ports() -> None:
    with pytest.raises(SettingsError, match="http_port and grpc_port are both 18200"):
        loader.load(ServerSettings, prefix=PREFIX, overrides={"http_port": 18200, "grpc_port": 18200})
    free = loader.load(ServerSettings, prefix=PREFIX, overrides={"http_port": 0, "grpc_port": 0})
    assert (free.http_port, free.grpc_port) == (0, 0)


def test_the_documentation_names_every_setting_its_default_and_its_choices() -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    table = text.partition("### Settings")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", table, re.MULTILINE)
    fields = ServerSettings.model_fields
    assert [name for name, _, _ in rows] == list(fields)
    words = {None: "not set", (): "none", True: "`true`", False: "`false`"}
    for name, told, means in rows:
        usual, kind = fields[name].default, fields[name].annotation
        spelled = words[usual] if usual is None or isinstance(usual, bool | tuple) else f"`{usual}`"
        assert told == spelled, name
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        assert [one for one in choices if f"`{one}`" not in means] == [], name
