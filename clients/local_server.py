"""A server of one's own for a while: ``vireid serve`` in a process on free ports, with a data folder that goes with it.

Knows how to start and end it, not what it is asked.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vireid.errors import ServerUnreachable

RUN = "from vireid.command import main; main()"
# on Linux the kernel tells the server when this process is gone, however it went
FOLLOW = (
    "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGTERM); " if sys.platform == "linux" else ""
)
START_WITHIN_S = 120.0
END_WITHIN_S = 30.0
LOOK_EVERY_S = 0.01
SHOWN_LINES = 20
# without these it would ask for the keys of the server that the environment is set up for
OPEN = ("--set", "api_keys=", "--set", "api_key_hashes=")


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers.

    Attributes:
        http: its address for HTTP.
        grpc: its address for gRPC.
        began: when its process was started, by ``time.perf_counter``.
        ready_s: how long after that it said it was ready.
    """

    http: str
    grpc: str
    began: float
    ready_s: float


@contextmanager
def local_server(bundle: str, settings: Sequence[str] = ()) -> Iterator[Started]:
    """Run a server; it is gone afterwards, whatever happens.

    Args:
        bundle: ``default``, ``fake`` or the path of a bundle.
        settings: further settings, ``key=value``.

    Raises:
        ServerUnreachable: it did not start, or ended by itself; tells its last lines.
    """
    with TemporaryDirectory(prefix="vireid-bench-") as name:
        folder = Path(name)
        command = [
            sys.executable, "-c", FOLLOW + RUN, "serve", "--bundle", bundle, "--data", str(folder / "data"),
            "--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0", *OPEN,
            *(word for setting in settings for word in ("--set", setting)),
        ]  # fmt: skip
        log = folder / "server.log"
        began = time.perf_counter()
        with log.open("wb") as out:
            # in a session of its own, so that Ctrl-C here reaches the server as an orderly end
            process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            http, grpc = _addresses(process, log)
            yield Started(http, grpc, began, time.perf_counter() - began)
        except ServerUnreachable:
            if process.poll() is None:
                raise
            raise ServerUnreachable(
                f"the server ended by itself with status {process.returncode}; its last lines:\n{_tail(log)}"
            ) from None
        finally:
            _end(process)


def _addresses(process: "subprocess.Popen[bytes]", log: Path) -> tuple[str, str]:
    """Wait until the server tells its addresses, first gRPC's, last HTTP's."""
    ends = time.perf_counter() + START_WITHIN_S
    while process.poll() is None and time.perf_counter() < ends:
        grpc = ""
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            words = line.split()
            if words[:1] == ["gRPC"] and len(words) == 2:
                grpc = words[1]
            elif grpc and line.startswith("http://") and line.endswith("\n"):
                return words[0], grpc
        time.sleep(LOOK_EVERY_S)
    if process.poll() is None:
        raise ServerUnreachable(
            f"the server was not ready within {START_WITHIN_S:g} s; its last lines:\n{_tail(log)}"
        )
    raise ServerUnreachable("the server did not start")


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-SHOWN_LINES:]) or "  (it wrote nothing)"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        return
    finally:  # also if it is too slow, or Ctrl-C comes once more: it must not stay
        if process.poll() is None:
            process.kill()
        process.wait()
