"""JPEG in, embedding out: the server over HTTP and gRPC against raw ONNX Runtime on the same cores.

    python benchmarks/serving.py --quick --json serving.json

Raw is what the machine can do: threads that loop decode, resize and run, each with its own one-thread
session of the bundle's model as the runtime opens it, and nothing else. The server tries both layouts of maps
and keeps the faster, so the same loop in the graph's own layout stands beside it, unjudged. The server is a
process of its own (``vireid serve``), asked by a load generator that is a third. All share the machine's cores,
so a ratio against raw holds the generator's cost and the wire's; the images per second of server CPU, beside
those per second of raw CPU, show the server alone.

Rounds alternate between raw and served, and a ratio is the median over rounds. Images on
which server and raw disagree end the run.
"""

import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from generators.serving_load import PICTURES, Worker

from clients import machine
from vireid import bundle as bundles

CLIENTS = (1, 8, 32)
LEAST_RATIO = 0.85
START_WITHIN_S = 60.0
QUIET_CORES = 0.1


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

    @property
    def per_cpu_s(self) -> float:
        """Images for each CPU second of what makes them: the server's, or raw's own; no client's."""
        return statistics.median(
            phase.images / (phase.server_cpu_s or phase.own_cpu_s) for phase in self.phases
        )

    def summary(self, raw: "Case") -> dict[str, float]:
        """Give the figures of all rounds."""
        latencies = [ms for phase in self.phases for ms in phase.latencies_ms]
        served = statistics.median(phase.rate for phase in self.phases)
        return {
            "images_per_s": served,
            "ratio_to_raw": statistics.median(
                phase.rate / base.rate for phase, base in zip(self.phases, raw.phases, strict=True)
            ),
            "p50_ms": quantile(latencies, 0.50),
            "p95_ms": quantile(latencies, 0.95),
            "p99_ms": quantile(latencies, 0.99),
            "images_per_worker_cpu_s": self.per_cpu_s,
            "ratio_per_cpu_s": self.per_cpu_s / raw.per_cpu_s,
            "load_generator_cores": statistics.median(p.own_cpu_s / p.wall_s for p in self.phases),
            "foreign_cores": statistics.median(p.foreign_share for p in self.phases),
        }


def quantile(values: list[float], share: float) -> float:
    """Give the smallest value that at least this share does not exceed."""
    return float(np.quantile(values, share, method="inverted_cdf"))


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
    (latencies, images), own_cpu, wall = worker.ask("load", clients, seconds)
    server_cpu = 0.0 if served is None else served.cpu_s() - server_cpu
    foreign = max(0.0, machine_busy_s() - busy - own_cpu - server_cpu)
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


def judge(cases: dict[str, Case], raw: Case, raw_one: Case) -> list[dict[str, Any]]:
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
        plain_worker = Worker("raw", (path, cores, True))
        wires = {"http": Worker("http", served.http_port), "grpc": Worker("grpc", served.grpc_port)}
        try:
            cosines = {name: agree(raw_worker, wire, name) for name, wire in wires.items()}
            raw, raw_one, raw_plain = Case("raw"), Case("raw_one_thread"), Case("raw_plain_layout")
            cases = {f"{wire}_{clients}": Case(f"{wire}_{clients}") for wire in wires for clients in CLIENTS}
            for worker, clients in [
                (raw_worker, cores),
                (plain_worker, cores),
                *((wire, 8) for wire in wires.values()),
            ]:
                worker.ask("load", clients, 1.0)  # warm
            for _ in range(rounds):
                raw.phases.append(measure(raw_worker, cores, seconds, None))
                raw_one.phases.append(measure(raw_worker, 1, seconds, None))
                raw_plain.phases.append(measure(plain_worker, cores, seconds, None))
                for wire, worker in wires.items():
                    for clients in CLIENTS:
                        cases[f"{wire}_{clients}"].phases.append(measure(worker, clients, seconds, served))
            memory = served.memory_mb()
        finally:
            for worker in (raw_worker, plain_worker, *wires.values()):
                worker.end()
            served.end()
    figures = {case.name: case.summary(raw) for case in (raw, raw_one, raw_plain, *cases.values())}
    verdicts = judge(cases, raw, raw_one)
    report(figures, verdicts)
    if json_path is not None:
        document = {
            "benchmark": "serving", "bundle": path.name, "cores": cores, "cpu": machine.describe()["cpu"], "rounds": rounds,
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
        "images/CPU s",
        "of raw/CPU s",
        "client cores",
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


if __name__ == "__main__":
    typer.run(main)
