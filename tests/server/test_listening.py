"""The HTTP port, before anything answers on it."""

import socket

import pytest

from server.app import _bind
from vireid.errors import SettingsError


def test_answers_are_sent_at_once() -> None:
    """Asyncio switches Nagle's delay off only where the socket names its protocol; 40 ms an answer are at stake."""
    with _bind("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_a_taken_port_is_named() -> None:
    with _bind("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(SettingsError, match=str(port)) as caught:
            _bind("127.0.0.1", port)
    assert caught.value.stable_reason == "PORT_TAKEN"
