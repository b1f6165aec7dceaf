"""API keys: which are good. Compared as SHA-256 digests in constant time. Knows no transport."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable

from server.settings import ServerSettings
from vireid.errors import SettingsError, Unauthenticated

SHORTEST_KEY = 16
DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


class Authenticator:
    """Accepts the keys it was given; without any, everybody.

    Args:
        digests: hex SHA-256 of each good key.
    """

    def __init__(self, digests: Iterable[str] = ()) -> None:
        self._digests = tuple(digest.lower() for digest in digests)

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return not self._digests

    def check(self, key: str | None) -> None:
        """Let a caller through.

        Raises:
            Unauthenticated: no key, or not a good one.
        """
        if self.is_open:
            return
        if not key:
            raise Unauthenticated(
                "this server asks for an API key; send 'authorization: Bearer KEY' or 'x-api-key: KEY'"
            )
        found = digest(key)
        good = False
        for known in self._digests:  # every one is looked at, so that the time tells nothing
            good |= hmac.compare_digest(found, known)
        if not good:
            raise Unauthenticated("this API key is not known here", reason="BAD_CREDENTIALS")


def digest(key: str) -> str:
    """Return the form in which keys are stored: hex SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def authenticator(settings: ServerSettings) -> Authenticator:
    """Build the authenticator of a server, and refuse an open one beyond this machine.

    Raises:
        SettingsError: another address than loopback without a key, or a key too short to be one.
    """
    given = [key.get_secret_value() for key in settings.api_keys]
    for key in given:
        if len(key) < SHORTEST_KEY:
            raise SettingsError(
                f"an API key has {len(key)} characters; expected {SHORTEST_KEY} or more: "
                "make one with python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                reason="KEY_TOO_SHORT",
            )
    for found in settings.api_key_hashes:
        if not DIGEST.fullmatch(found):
            raise SettingsError(
                f"an API key hash has {len(found)} characters; expected the 64 hex digits of a key's SHA-256",
                reason="KEY_HASH_INVALID",
            )
    keys = Authenticator([*settings.api_key_hashes, *(digest(key) for key in given)])
    if keys.is_open and not is_loopback(settings.host) and not settings.insecure_no_auth:
        raise SettingsError(
            f"host {settings.host} can be reached from other machines, and no API key is set; set api_keys "
            "(VIREID_API_KEYS), or listen on 127.0.0.1, or say --insecure-no-auth",
            reason="KEY_REQUIRED",
        )
    return keys


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
