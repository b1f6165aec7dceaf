"""``vireid serve`` as its users meet it: a process with ports, signals and an exit status."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from PIL import Image

from server.app import Server
from server.settings import ServerSettings
from vireid import bundle as bundles
from vireid.errors import BundleCorrupt, ProviderUnavailable

VIREID = str(Path(sys.executable).parent / "vireid")
PATIENCE_S = 60.0
KEY = "a-key-that-nobody-guesses"
MISUSED = 2


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("VIREID_")}  # noqa: TID251 - passed on, not read
    return {**own, "OMP_NUM_THREADS": "1", **(more or {})}


def words_of(folder: Path, *more: str | Path) -> list[str]:
    ports = ("--http-port", "0", "--grpc-port", "0", "--workers", "1")
    return [VIREID, "serve", "--data", str(folder / "data"), *ports, *map(str, more)]


@dataclass
class Served:
    """A server process that answers."""

    process: subprocess.Popen[str]
    http: str
    grpc: str

    def ask(self, path: str, data: bytes | None = None, method: str | None = None, **headers: str) -> Any:
        request = urllib.request.Request(self.http + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(how)
        _, told = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, told


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def begin(*more: str | Path, bundle: str = "fake", env: dict[str, str] | None = None) -> Served:
        process = subprocess.Popen(
            words_of(tmp_path, "--bundle", bundle, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(env),
        )
        begun.append(process)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        if not said[-1].startswith("http://"):
            raise AssertionError(said, process.communicate(timeout=PATIENCE_S))
        return Served(process, said[2].strip(), said[1].split()[-1])

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


def refused(folder: Path, *more: str | Path, env: dict[str, str] | None = None) -> str:
    """Start a server that must not start; give what it said."""
    done = subprocess.run(
        words_of(folder, *more), capture_output=True, text=True, timeout=PATIENCE_S, env=environment(env)
    )
    assert done.returncode == MISUSED, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "http://" not in done.stdout
    return " ".join(done.stderr.split())


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((64, 128), Image.Resampling.BILINEAR).save(out, "JPEG")
    return out.getvalue()


# ---- what must not start -----------------------------------------------------
@pytest.mark.parametrize("flag", ["--http-port", "--grpc-port"])
def test_a_taken_port(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, "--bundle", "fake", flag, port)
    assert port in said
    assert "PORT_TAKEN" in said
    assert flag[2:].replace("-", "_") in said.replace("-", "_")


def test_a_missing_bundle(tmp_path: Path) -> None:
    said = refused(tmp_path, "--bundle", tmp_path / "nowhere.bundle.zip")
    assert "nowhere.bundle.zip" in said
    assert "BUNDLE_MISSING" in said


def damaged(how: str) -> bytes:
    data = bytearray(bundles.default_path().read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    return {"cut": bytes(data[: len(data) // 2]), "no zip": b"no zip file at all", "empty": b""}.get(
        how, bytes(data)
    )


@pytest.mark.parametrize("how", ["cut", "flipped", "no zip", "empty"])
def test_a_corrupted_bundle(tmp_path: Path, how: str) -> None:
    path = tmp_path / "bad.bundle.zip"
    path.write_bytes(damaged(how))
    with pytest.raises(BundleCorrupt, match=r"bad\.bundle\.zip"):
        Server(ServerSettings(bundle=str(path), data=tmp_path / "data", http_port=0, grpc_port=0))
    assert not (tmp_path / "data").exists()


def test_a_corrupted_bundle_ends_the_command(tmp_path: Path) -> None:
    path = tmp_path / "bad.bundle.zip"
    path.write_bytes(damaged("flipped"))
    said = refused(tmp_path, "--bundle", path)
    assert "bad.bundle.zip" in said
    assert "BUNDLE_CORRUPT" in said


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this FAISS may find a GPU")
def test_a_search_backend_that_is_not_there(tmp_path: Path) -> None:
    """Nothing falls back silently: not even a data folder is left behind."""
    with pytest.raises(ProviderUnavailable, match="choose backend 'scan'"):
        Server(ServerSettings(bundle="fake", data=tmp_path / "data", backend="faiss-gpu"))
    assert not (tmp_path / "data").exists()


def test_beyond_this_machine_without_a_key(tmp_path: Path) -> None:
    said = refused(tmp_path, "--bundle", "fake", "--host", "0.0.0.0")
    assert "KEY_REQUIRED" in said
    assert "VIREID_API_KEYS" in said


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    said = refused(tmp_path, "--bundle", "fake", "--host", "192.0.2.1", env={"VIREID_API_KEYS": KEY})
    assert "192.0.2.1" in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("more", "env", "expected"),
    [
        ((), {"VIREID_QUEUE_LIMT": "3"}, "VIREID_QUEUE_LIMIT"),
        (("--http-port", "70000"), {}, "http_port"),
        ((), {"VIREID_API_KEYS": "short"}, "KEY_TOO_SHORT"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, more: tuple[str, ...], env: dict[str, str], expected: str
) -> None:
    assert expected in refused(tmp_path, "--bundle", "fake", *more, env=env)


def test_two_servers_do_not_share_a_folder(tmp_path: Path, start: Start) -> None:
    first = start()
    said = refused(tmp_path, "--bundle", "fake")
    assert str(tmp_path / "data") in said
    assert first.ask("/readyz")["ready"] is True


# ---- what starts -------------------------------------------------------------
def test_it_says_where_it_is_and_ends_when_told(start: Start) -> None:
    served = start()
    assert served.ask("/livez") == {"live": True}
    assert served.ask("/v1/info")["model"]["name"] == "fake"
    host, port = served.grpc.split(":")
    socket.create_connection((host, int(port)), 5).close()
    status, told = served.end()
    assert status == 0, told
    assert "Traceback" not in told
    assert "draining" in told


def test_what_was_answered_is_there_after_a_kill(start: Start) -> None:
    served = start()
    served.ask("/v1/galleries", b'{"name": "g"}', **{"content-type": "application/json"})
    for number in range(4):
        served.ask(f"/v1/galleries/g/items/i/{number}?camera=c{number}", picture(number), "PUT")
    served.process.kill()
    served.process.wait(PATIENCE_S)
    again = start()
    assert [one["items"] for one in again.ask("/v1/galleries")["galleries"]] == [4]
    for number in range(4):
        hit = again.ask("/v1/galleries/g/search?top_k=1", picture(number))["hits"][0]
        assert (hit["item_id"], hit["camera"]) == (f"i/{number}", f"c{number}")
        assert hit["score"] == pytest.approx(1.0, abs=1e-5)


def test_a_request_under_way_is_answered_while_it_drains(start: Start) -> None:
    """The head and half of the body are there when the signal comes; the rest arrives after it."""
    served = start()
    data = picture(1)
    port = int(served.http.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as wire:
        head = f"POST /v1/embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
        wire.sendall(head.encode() + data[: len(data) // 2])
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        wire.sendall(data[len(data) // 2 :])
        answer = b""
        while part := wire.recv(65536):
            answer += part
    # it came before the signal, but its work would begin after: it is answered either way, and in words
    status = int(answer.split()[1])
    assert status in {200, 503}, answer[:300]
    if status == 503:
        assert b"DRAINING" in answer
    _, told = served.process.communicate(timeout=PATIENCE_S)
    assert served.process.returncode == 0, told


def test_beyond_this_machine_the_key_is_asked_for(start: Start) -> None:
    served = start("--host", "0.0.0.0", env={"VIREID_API_KEYS": KEY})
    here = f"http://127.0.0.1:{served.http.rsplit(':', 1)[1]}"
    served.http = here
    assert served.ask("/livez") == {"live": True}
    with pytest.raises(urllib.error.HTTPError) as caught:
        served.ask("/v1/galleries")
    with caught.value as answer:
        assert (answer.code, json.loads(answer.read())["reason"]) == (401, "NO_CREDENTIALS")
    assert served.ask("/v1/galleries", authorization=f"Bearer {KEY}") == {"galleries": []}
    status, told = served.end()
    assert status == 0
    assert KEY not in told


def test_settings_come_from_file_environment_and_flags_in_that_order(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text("max_upload_bytes = 2097152\nlog_json = false\nlog_level = 'warning'\n")
    served = start("--config", str(file), "--set", "log_level=info", env={"VIREID_LOG_JSON": "true"})
    assert served.ask("/v1/info")["limits"]["upload_bytes"] == 2097152
    status, told = served.end(signal.SIGINT)
    assert status == 0
    lines = [json.loads(line) for line in told.splitlines()]
    assert any("draining" in line["message"] and line["level"] == "info" for line in lines)


def test_serving_never_loads_torch(tmp_path: Path) -> None:
    """Nor does it need it: an import of it would fail here."""
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['training'] = None; sys.modules['export'] = None\n"
        "import asyncio; from pathlib import Path\n"
        "from server.app import Server; from server.settings import ServerSettings\n"
        "async def main():\n"
        "    server = Server(ServerSettings(bundle='default', data=Path(sys.argv[1]), http_port=0, grpc_port=0, workers=1))\n"
        "    async def ready(one):\n"
        "        import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await server.run(ready)\n"
        "asyncio.run(main())\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('torch', 'training', 'export', 'onnxscript')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True, text=True, timeout=PATIENCE_S, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['export', 'torch', 'training']"
