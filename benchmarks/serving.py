"""JPEG in, embedding out: the server over HTTP and gRPC against raw ONNX Runtime on the same cores.

    python benchmarks/serving.py --quick --json serving.json

Raw is what the machine can do: threads that loop decode, resize and run, each with its own one-thread
session of the bundle's model, and nothing else. The server is a process of its own (``vireid serve``),
asked by a load generator that is a third. All share the machine's cores, so a ratio against raw holds the
generator's cost and the wire's; the images per second of server CPU, beside those per second of raw CPU,
show the server alone. Rounds alternate between raw and served, and a ratio is the median over rounds.
Images on which server and raw disagree end the run.
"""

import asyncio
import io
import json
import multiprocessing
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import onnxruntime
import simplejpeg
import typer
from PIL import Image, ImageFilter

from vireid import bundle as bundles
from vireid.proto import retrieval_pb2 as pb

CLIENTS = (1, 8, 32)
PICTURES = 64
LEAST_RATIO = 0.85
START_WITHIN_S = 60.0
QUIET_CORES = 0.1
EMBED = "/vireid.v1.RetrievalService/Embed"


@dataclass(frozen=True)
class Phase:
    """What one stretch of load gave."""

    rate: float
    latencies_ms: list[float]
    images: int
    own_cpu_s: float
    wall_s: float
    server_cpu_s: float = 0.0
    foreign_share: float = 0.0


@dataclass
class Case:
    """One way of asking, over the rounds."""

    name: str
    phases: list[Phase] = field(default_factory=list)

    def summary(self, raw: list[Phase]) -> dict[str, float]:
        """Give the figures of all rounds."""
        latencies = [ms for phase in self.phases for ms in phase.latencies_ms]
        served = statistics.median(phase.rate for phase in self.phases)
        worker_cpu = [phase.server_cpu_s or phase.own_cpu_s for phase in self.phases]
        return {
            "images_per_s": served,
            "ratio_to_raw": statistics.median(
                phase.rate / base.rate for phase, base in zip(self.phases, raw, strict=True)
            ),
            "p50_ms": quantile(latencies, 0.50),
            "p95_ms": quantile(latencies, 0.95),
            "p99_ms": quantile(latencies, 0.99),
            "images_per_worker_cpu_s": statistics.median(
                phase.images / cpu for phase, cpu in zip(self.phases, worker_cpu, strict=True)
            ),
            "load_generator_cores": statistics.median(p.own_cpu_s / p.wall_s for p in self.phases),
            "foreign_cores": statistics.median(p.foreign_share for p in self.phases),
        }


def quantile(values: list[float], share: float) -> float:
    """Give the smallest value that at least this share does not exceed."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def pictures(count: int = PICTURES) -> list[bytes]:
    """Draw person-sized JPEG crops: blurred blocks of colour with grain, near 10 kB."""
    draw = np.random.default_rng(0)
    encoded = []
    for _ in range(count):
        height = int(draw.integers(200, 320))
        blocks = draw.integers(0, 255, (8, 4, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((height // 2, height), Image.Resampling.BICUBIC)
        image = image.filter(ImageFilter.GaussianBlur(2))
        grain = draw.normal(0, 6, (height, height // 2, 1))
        noisy = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(noisy).save(out, "JPEG", quality=88)
        encoded.append(out.getvalue())
    return encoded


# ---- raw: decode, resize, run ------------------------------------------------
class Raw:
    """Threads with a one-thread session each."""

    def __init__(self, path: Path, threads: int) -> None:
        bundle = bundles.read(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        model = bundle.file(bundle.manifest.model.file)
        self._size = (bundle.preprocess.width, bundle.preprocess.height)
        self._sessions = [
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            for _ in range(threads)
        ]
        self._pictures = pictures()
        self._visible = np.zeros(1, dtype=np.int64)

    def embed(self, number: int, session: int = 0) -> np.ndarray:
        """Embed one picture."""
        rgb = simplejpeg.decode_jpeg(self._pictures[number % PICTURES], colorspace="RGB")
        pixels = np.asarray(Image.fromarray(rgb).resize(self._size, Image.Resampling.BILINEAR))
        feeds = {"images": pixels[None], "modality": self._visible}
        return self._sessions[session].run(None, feeds)[0][0]

    def load(self, threads: int, seconds: float) -> list[float]:
        """Work in some threads; latencies in milliseconds."""
        return looped(threads, seconds, lambda thread: lambda number: self.embed(number, thread))


def looped(threads: int, seconds: float, work_of: Callable[[int], Callable[[int], object]]) -> list[float]:
    """Let threads work in a loop; the latency of each piece that ended in time, in milliseconds."""
    latencies: list[list[float]] = [[] for _ in range(threads)]
    ends = time.perf_counter() + seconds

    def loop(thread: int) -> None:
        work = work_of(thread)
        number = thread
        while True:
            began = time.perf_counter()
            work(number)
            now = time.perf_counter()
            if now > ends:
                return
            latencies[thread].append((now - began) * 1e3)
            number += threads

    running = [threading.Thread(target=loop, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return [ms for each in latencies for ms in each]


# ---- the load generator ------------------------------------------------------
class HttpLoad:
    """Keep-alive sockets, one thread each; the least a client can cost in Python."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests = [
            b"POST /v1/embed?modality=visible HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            for body in pictures()
        ]

    def load(self, clients: int, seconds: float) -> list[float]:
        """Ask with some clients; latencies in milliseconds."""
        return looped(clients, seconds, lambda _: self._caller())

    def _caller(self) -> Callable[[int], object]:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return lambda number: self.ask(sock, number)

    def ask(self, sock: socket.socket, number: int) -> bytes:
        """Send one picture; the body of the answer."""
        sock.sendall(self._requests[number % PICTURES])
        data = sock.recv(65536)
        while (head := data.find(b"\r\n\r\n")) < 0:
            data += sock.recv(65536)
        lower = data[:head].lower()
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answered {data[:300]!r}")
        at = lower.index(b"content-length:") + 15
        length = int(lower[at : lower.find(b"\r\n", at) % (head + 1)])
        while len(data) < head + 4 + length:
            data += sock.recv(65536)
        return data[head + 4 :]

    def embed(self, number: int) -> np.ndarray:
        """Give one picture's embedding."""
        sock = socket.create_connection(("127.0.0.1", self._port))
        with sock:
            return np.asarray(json.loads(self.ask(sock, number))["embedding"], dtype=np.float32)


class GrpcLoad:
    """Coroutines over one channel; messages are written and read as bytes."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._requests = [
            pb.EmbedRequest(
                inputs=[pb.ImageInput(data=body, modality=pb.MODALITY_VISIBLE)]
            ).SerializeToString()
            for body in pictures()
        ]

    def load(self, clients: int, seconds: float) -> list[float]:
        """Ask with some clients; latencies in milliseconds."""
        return asyncio.run(self._load(clients, seconds))

    async def _load(self, clients: int, seconds: float) -> list[float]:
        latencies: list[float] = []
        async with grpc.aio.insecure_channel(self._address) as channel:
            ask = channel.unary_unary(EMBED)
            await ask(self._requests[0])
            ends = time.perf_counter() + seconds

            async def caller(first: int) -> None:
                number = first
                while True:
                    began = time.perf_counter()
                    await ask(self._requests[number % PICTURES])
                    now = time.perf_counter()
                    if now > ends:
                        return
                    latencies.append((now - began) * 1e3)
                    number += clients

            await asyncio.gather(*(caller(first) for first in range(clients)))
        return latencies

    def embed(self, number: int) -> np.ndarray:
        """Give one picture's embedding."""
        with grpc.insecure_channel(self._address) as channel:
            reply = pb.EmbedResponse.FromString(channel.unary_unary(EMBED)(self._requests[number]))
        return np.frombuffer(reply.results[0].embedding.f32_le, dtype="<f4")


def work(pipe: Connection, kind: str, argument: Any) -> None:
    """Be one of the processes: answer (method, arguments) until told to end."""
    made = {
        "raw": lambda: Raw(*argument),
        "http": lambda: HttpLoad(argument),
        "grpc": lambda: GrpcLoad(argument),
    }
    worker = made[kind]()
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        method, arguments = order
        began, cpu = time.perf_counter(), own_cpu_s()
        answer = getattr(worker, method)(*arguments)
        pipe.send((answer, own_cpu_s() - cpu, time.perf_counter() - began))


def own_cpu_s() -> float:
    """CPU seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Worker:
    """A process of this benchmark, and the pipe to it."""

    def __init__(self, kind: str, argument: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, kind, argument), daemon=True)
        self._process.start()
        if self._pipe.recv() != "ready":
            raise RuntimeError(f"the {kind} process did not start")

    def ask(self, method: str, *arguments: Any) -> tuple[Any, float, float]:
        """Call a method there: its answer, its CPU seconds, its wall seconds."""
        self._pipe.send((method, arguments))
        answer: tuple[Any, float, float] = self._pipe.recv()
        return answer

    def end(self) -> None:
        """Let the process end."""
        self._pipe.send(None)
        self._process.join(10)


# ---- the server --------------------------------------------------------------
class Served:
    """``vireid serve`` in a process of its own."""

    def __init__(self, bundle: str, folder: Path, extra: list[str]) -> None:
        self.http_port, self.grpc_port = free_port(), free_port()
        command = [
            str(Path(sys.executable).with_name("vireid")), "serve",
            "--bundle", bundle, "--data", str(folder),
            "--http-port", str(self.http_port), "--grpc-port", str(self.grpc_port), *extra,
        ]  # fmt: skip
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)  # noqa: S603
        ends = time.monotonic() + START_WITHIN_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.end()
                raise RuntimeError(
                    "the server did not start:\n" + (folder / "server.log").read_text()[-3000:]
                )
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu_s(self) -> float:
        """CPU seconds the server has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory the server holds."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def end(self) -> None:
        """Ask the server to stop, and see that it has."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def free_port() -> int:
    """Find a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine_busy_s() -> float:
    """CPU seconds anyone has used since boot."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


# ---- the measurement ---------------------------------------------------------
def measure(worker: Worker, clients: int, seconds: float, served: Served | None) -> Phase:
    """Let one worker load for a while, and see who used the processor."""
    busy, server_cpu = machine_busy_s(), 0.0 if served is None else served.cpu_s()
    latencies, own_cpu, wall = worker.ask("load", clients, seconds)
    server_cpu = 0.0 if served is None else served.cpu_s() - server_cpu
    foreign = max(0.0, machine_busy_s() - busy - own_cpu - server_cpu)
    # each client's last image ended late: in nobody's latency, but in the processor's time
    images = len(latencies) + clients
    return Phase(len(latencies) / seconds, latencies, images, own_cpu, wall, server_cpu, foreign / wall)


def agree(raw: Worker, other: Worker, name: str) -> float:
    """Compare some embeddings; the smallest cosine."""
    cosines = []
    for number in range(0, PICTURES, 8):
        (ours, _, _), (theirs, _, _) = raw.ask("embed", number), other.ask("embed", number)
        cosines.append(float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)))
    if min(cosines) < 0.999:
        raise SystemExit(f"{name} embeds otherwise than raw: smallest cosine {min(cosines):.5f}")
    return min(cosines)


def judge(cases: dict[str, Case], raw: list[Phase], raw_one: Case) -> list[dict[str, Any]]:
    """Hold the figures against the goals."""
    verdicts = []
    for wire in ("http", "grpc"):
        for clients in (8, 32):
            ratio = cases[f"{wire}_{clients}"].summary(raw)["ratio_to_raw"]
            verdicts.append(
                {
                    "name": f"{wire}_{clients}_clients",
                    "ratio": ratio,
                    "goal": f">={LEAST_RATIO}",
                    "pass": ratio >= LEAST_RATIO,
                }
            )
        alone = statistics.median(ms for phase in raw_one.phases for ms in phase.latencies_ms)
        p99 = quantile([ms for phase in cases[f"{wire}_1"].phases for ms in phase.latencies_ms], 0.99)
        ratio = p99 / (1.5 * alone + 2.0)
        verdicts.append(
            {"name": f"{wire}_1_client_p99", "ratio": ratio, "goal": "<=1.0", "pass": ratio <= 1.0}
        )
    return verdicts


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Another bundle than the default one.")] = None,
    rounds: Annotated[int, typer.Option(help="How often raw and served alternate; 0 for the usual.")] = 0,
    seconds: Annotated[float, typer.Option(help="Length of each stretch of load; 0 for the usual.")] = 0.0,
    serve_option: Annotated[list[str] | None, typer.Option(help="Passed on to vireid serve.")] = None,
) -> None:
    """Measure the server against raw ONNX Runtime; exit 1 if a goal is missed."""
    rounds, seconds = rounds or (3 if quick else 7), seconds or (2.0 if quick else 4.0)
    path = bundle or bundles.default_path()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        served = Served(str(path), Path(folder), serve_option or [])
        raw_worker = Worker("raw", (path, cores))
        wires = {"http": Worker("http", served.http_port), "grpc": Worker("grpc", served.grpc_port)}
        try:
            cosines = {name: agree(raw_worker, wire, name) for name, wire in wires.items()}
            raw, raw_one = Case("raw"), Case("raw_one_thread")
            cases = {f"{wire}_{clients}": Case(f"{wire}_{clients}") for wire in wires for clients in CLIENTS}
            for worker, clients in [(raw_worker, cores), *((wire, 8) for wire in wires.values())]:
                worker.ask("load", clients, 1.0)  # warm
            for _ in range(rounds):
                raw.phases.append(measure(raw_worker, cores, seconds, None))
                raw_one.phases.append(measure(raw_worker, 1, seconds, None))
                for wire, worker in wires.items():
                    for clients in CLIENTS:
                        cases[f"{wire}_{clients}"].phases.append(measure(worker, clients, seconds, served))
            memory = served.memory_mb()
        finally:
            for worker in (raw_worker, *wires.values()):
                worker.end()
            served.end()
    figures = {case.name: case.summary(raw.phases) for case in (raw, raw_one, *cases.values())}
    verdicts = judge(cases, raw.phases, raw_one)
    report(figures, verdicts)
    if json_path is not None:
        document = {
            "benchmark": "serving", "bundle": path.name, "cores": cores, "cpu": cpu_name(), "rounds": rounds,
            "seconds": seconds, "onnxruntime": onnxruntime.__version__, "python": platform.python_version(),
            "smallest_cosine": cosines, "server_rss_mb": memory, "figures": figures, "goals": verdicts,
        }  # fmt: skip
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    raise SystemExit(0 if all(verdict["pass"] for verdict in verdicts) else 1)


def report(figures: dict[str, dict[str, float]], verdicts: list[dict[str, Any]]) -> None:
    """Print the figures, then one line per goal."""
    head = (
        "",
        "images/s",
        "of raw",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "img/worker CPU s",
        "generator cores",
        "foreign cores",
    )
    print("  ".join(f"{word:>16}" for word in head))
    for name, figure in figures.items():
        print("  ".join([f"{name:>16}", *(f"{value:>16.2f}" for value in figure.values())]))
    disturbed = max(figure["foreign_cores"] for figure in figures.values())
    if disturbed > QUIET_CORES:
        print(f"note: other processes used up to {disturbed:.2f} cores meanwhile; repeat on a quiet machine")
    for verdict in verdicts:
        print(
            verdict["name"], f"{verdict['ratio']:.3f}", verdict["goal"], "pass" if verdict["pass"] else "miss"
        )


def cpu_name() -> str:
    """Name the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


if __name__ == "__main__":
    typer.run(main)
