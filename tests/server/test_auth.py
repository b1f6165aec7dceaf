"""API keys: which are good, and when a server must have one."""

import pytest

from server.auth import Authenticator, authenticator, digest, is_loopback
from server.settings import ServerSettings
from vireid.errors import SettingsError, Unauthenticated

KEY, OTHER = "k" * 32, "o" * 32


@pytest.mark.parametrize("key", [None, "", KEY, "anything"])
def test_without_keys_everybody_comes_in(key: str | None) -> None:
    keys = Authenticator()
    assert keys.is_open
    keys.check(key)


def test_every_configured_key_is_good() -> None:
    keys = Authenticator([digest(KEY), digest(OTHER).upper()])
    assert not keys.is_open
    keys.check(KEY)
    keys.check(OTHER)


@pytest.mark.parametrize("key", [None, ""])
def test_no_key(key: str | None) -> None:
    with pytest.raises(Unauthenticated, match="x-api-key") as caught:
        Authenticator([digest(KEY)]).check(key)
    assert caught.value.stable_reason == "NO_CREDENTIALS"


@pytest.mark.parametrize(
    "key", [KEY[:-1], KEY + "k", KEY.upper(), digest(KEY), f" {KEY}", "schlüssel", "\udcff"]
)
def test_a_wrong_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Authenticator([digest(KEY)]).check(key)
    assert caught.value.stable_reason == "BAD_CREDENTIALS"
    assert key not in caught.value.message


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org", ""])
def test_beyond_this_machine_a_key_is_needed(host: str) -> None:
    with pytest.raises(SettingsError, match="VIREID_API_KEYS") as caught:
        authenticator(ServerSettings(host=host))
    assert caught.value.stable_reason == "KEY_REQUIRED"
    authenticator(ServerSettings(host=host, api_keys=(KEY,))).check(KEY)
    authenticator(ServerSettings(host=host, api_key_hashes=(digest(KEY),))).check(KEY)
    assert authenticator(ServerSettings(host=host, insecure_no_auth=True)).is_open


def test_on_this_machine_none_is_needed_but_one_is_asked_for_if_set() -> None:
    assert authenticator(ServerSettings()).is_open
    with pytest.raises(Unauthenticated):
        authenticator(ServerSettings(api_keys=(KEY,))).check(None)


def test_a_key_that_can_be_guessed_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="16") as caught:
        authenticator(ServerSettings(api_keys=("hunter2",)))
    assert caught.value.stable_reason == "KEY_TOO_SHORT"
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("found", ["", "abc", "k" * 64, KEY, digest(KEY)[:-1]])
def test_a_hash_that_is_none_is_refused(found: str) -> None:
    """Else a server starts that no key can open, or one whose operator pasted the key itself."""
    with pytest.raises(SettingsError) as caught:
        authenticator(ServerSettings(api_key_hashes=(found,)))
    assert caught.value.stable_reason == "KEY_HASH_INVALID"
    assert not found or found not in caught.value.message
