"""Three ways to make embeddings, each in a process of its own: raw ONNX Runtime, over HTTP, over gRPC.

``Worker`` starts such a process and asks it to work for a while; the latencies come back. Knows no goals.
"""

import io
import json
import multiprocessing
import resource
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import simplejpeg
from generators import http2_frames
from PIL import Image, ImageFilter

from vireid import bundle as bundles
from vireid.proto import retrieval_pb2 as pb

PICTURES = 64
EMBED = "/vireid.v1.RetrievalService/Embed"
RAMP_S = 0.4

# the latencies of what ended within the time that counts, and how much was done in all
Noted = tuple[list[float], int]


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
    """Threads with a one-thread session each.

    Args:
        path: of the bundle.
        threads: how many.
        plain: leave maps in the graph's own layout, which the runtime does not by itself.
    """

    def __init__(self, path: Path, threads: int, plain: bool = False) -> None:
        bundle = bundles.read(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
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

    def load(self, threads: int, seconds: float) -> Noted:
        """Work in some threads."""
        return looped(threads, seconds, lambda thread: lambda number: self.embed(number, thread))


class Clock:
    """The stretch of time that counts: after everybody has begun, before anybody ends.

    What is under way when it begins makes up for what is under way when it ends.

    Args:
        seconds: its length.
    """

    def __init__(self, seconds: float) -> None:
        self._begins = time.perf_counter() + RAMP_S
        self._ends = self._begins + seconds
        self._lock = threading.Lock()
        self.done = 0
        self.latencies_ms: list[float] = []

    def finished(self, began: float) -> bool:
        """Note that something begun then has just ended; whether to go on."""
        now = time.perf_counter()
        with self._lock:
            self.done += 1
            if self._begins <= now <= self._ends:
                self.latencies_ms.append((now - began) * 1e3)
        return now < self._ends

    @property
    def noted(self) -> Noted:
        """What was noted."""
        return self.latencies_ms, self.done


def looped(threads: int, seconds: float, work_of: Callable[[int], Callable[[int], object]]) -> Noted:
    """Let threads work in a loop for a while."""
    clock = Clock(seconds)

    def loop(thread: int) -> None:
        work = work_of(thread)
        number = thread
        going_on = True
        while going_on:
            began = time.perf_counter()
            work(number)
            going_on = clock.finished(began)
            number += threads

    running = [threading.Thread(target=loop, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return clock.noted


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

    def load(self, clients: int, seconds: float) -> Noted:
        """Ask with some clients."""
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
    """Connections of one call at a time, one thread each; messages are written and read as bytes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests = [
            pb.EmbedRequest(
                inputs=[pb.ImageInput(data=body, modality=pb.MODALITY_VISIBLE)]
            ).SerializeToString()
            for body in pictures()
        ]

    def load(self, clients: int, seconds: float) -> Noted:
        """Ask with some clients."""
        return looped(clients, seconds, lambda _: self._caller())

    def _caller(self) -> Callable[[int], object]:
        connection = http2_frames.Connection(self._port, EMBED)
        return lambda number: connection.call(self._requests[number % PICTURES])

    def embed(self, number: int) -> np.ndarray:
        """Give one picture's embedding, asked for by the library's own client."""
        with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
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
