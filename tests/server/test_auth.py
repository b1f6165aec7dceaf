"""Keys."""

from typing import Any

import pytest

from server.auth import Authenticator, authenticator, digest, is_loopback
from server.settings import ServerSettings
from vireid.errors import SettingsError, Unauthenticated

KEY = "a-key-that-is-long-enough"
OTHER = "another-key-that-is-long-enough"


def settings(**more: Any) -> ServerSettings:
    return ServerSettings(**more)


def test_without_keys_everybody_comes_in() -> None:
    keys = authenticator(settings())
    assert keys.is_open
    keys.check(None)


def test_only_good_keys_come_in() -> None:
    keys = authenticator(settings(api_keys=(KEY,), api_key_hashes=(digest(OTHER).upper(),)))
    keys.check(KEY)
    keys.check(OTHER)
    for bad in (KEY + "x", KEY[:-1], KEY.upper(), digest(KEY), "ключ", "\udcff"):
        with pytest.raises(Unauthenticated) as caught:
            keys.check(bad)
        assert caught.value.stable_reason == "BAD_CREDENTIALS"
        assert bad not in caught.value.message
    for missing in (None, ""):
        with pytest.raises(Unauthenticated) as caught:
            keys.check(missing)
        assert caught.value.stable_reason == "NO_CREDENTIALS"


def test_keys_are_held_as_digests_only() -> None:
    keys = Authenticator([digest(KEY)])
    assert KEY not in repr(vars(keys))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_beyond_loopback_a_key_is_needed(host: str) -> None:
    with pytest.raises(SettingsError, match="insecure-no-auth") as caught:
        authenticator(settings(host=host))
    assert caught.value.stable_reason == "KEY_REQUIRED"
    authenticator(settings(host=host, api_keys=(KEY,)))
    authenticator(settings(host=host, insecure_no_auth=True))


def test_a_key_anyone_could_guess() -> None:
    with pytest.raises(SettingsError) as caught:
        authenticator(settings(api_keys=("secret",)))
    assert caught.value.stable_reason == "KEY_TOO_SHORT"
    assert "'secret'" not in caught.value.message


@pytest.mark.parametrize("bad", ["", "abc", "z" * 64, KEY])
def test_a_hash_that_is_none(bad: str) -> None:
    with pytest.raises(SettingsError) as caught:
        authenticator(settings(api_key_hashes=(bad,)))
    assert caught.value.stable_reason == "KEY_HASH_INVALID"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("10.0.0.1", False), ("localhost.evil.org", False), ("", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
