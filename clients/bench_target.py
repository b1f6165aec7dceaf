"""The server a benchmark measures: its addresses by wire, the key, and what it says of itself.

Knows no dataset and no measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clients.base import DEFAULT_TIMEOUT_S, Client
from clients.connect import connect
from clients.retry import NEVER, Retry
from vireid.errors import SettingsError

GRPC, HTTP = "grpc", "http"
WIRES = (GRPC, HTTP)
BOTH = "both"


@dataclass(frozen=True, slots=True)
class Target:
    """A server.

    Attributes:
        addresses: wire -> address.
        wires: those that are measured; the first also enrols and is asked for the accuracy.
        api_key: sent with every call.
        timeout_s: deadline of each call.
        local: whether it was started for the benchmark.
    """

    addresses: Mapping[str, str]
    wires: tuple[str, ...]
    api_key: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    local: bool = False

    def connect(self, wire: str, retry: Retry | None = None) -> Client:
        """Make a client."""
        return connect(self.addresses[wire], api_key=self.api_key, timeout_s=self.timeout_s, retry=retry)

    def info(self) -> dict[str, Any]:
        """Ask what the server is: version, model, engine, limits.

        Raises:
            ServerUnreachable: nobody answers there.
            VireidError: it refused.
        """
        with self.connect(self.wires[0], NEVER) as client:
            return asdict(client.info())


def addresses_of(servers: Sequence[str]) -> dict[str, str]:
    """Sort addresses by their wire.

    Raises:
        SettingsError: two are of one wire.
    """
    found: dict[str, str] = {}
    for server in servers:
        wire = HTTP if server.startswith(("http://", "https://")) else GRPC
        if wire in found:
            raise SettingsError(
                f"{found[wire]} and {server} are both {wire} addresses; give one --server for each wire: "
                "host:port for gRPC, http://host:port for HTTP"
            )
        found[wire] = server
    return found


def wires_of(word: str, addresses: Mapping[str, str]) -> tuple[str, ...]:
    """Choose the wires to measure; an empty word takes those there are.

    Raises:
        SettingsError: an unknown wire, or one without an address.
    """
    wires = {"": tuple(addresses), BOTH: WIRES}.get(word, (word,))
    for wire in wires:
        if wire not in WIRES:
            raise SettingsError(f"--wire is {wire!r}; expected {GRPC}, {HTTP} or {BOTH}")
        if wire not in addresses:
            raise SettingsError(
                f"--wire {word} needs the server's {wire} address; give it too: "
                f"--server {'http://host:port' if wire == HTTP else 'host:port'}"
            )
    return wires
