"""Keys, full queues, deadlines, lost servers and many threads: every client behaves the same."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clients.retry import NEVER, Retry
from vireid import errors
from vireid.errors import VireidError

KINDS = ("grpc", "grpc-async", "http", "http-async")
KEY = "a-key-of-some-length"


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def connect(server: Any, kind: str, **options: Any) -> Any:
        made.append(server.connect(kind, **options))
        return made[-1]

    yield connect
    for caller in made:
        caller.close()


def test_keys(start: Any, connect: Any, draw: Any) -> None:
    with start(key=KEY) as server:
        for kind in KINDS:
            assert connect(server, kind)("list_galleries") == ()
            for key, reason in ((None, "NO_CREDENTIALS"), ("another-key-than-it", "BAD_CREDENTIALS")):
                stranger = connect(server, kind, api_key=key)
                for method, arguments in (("list_galleries", ()), ("embed", (draw(1),))):
                    with pytest.raises(errors.Unauthenticated) as caught:
                        stranger(method, *arguments)
                    assert caught.value.stable_reason == reason


def test_a_full_queue_says_when_to_come_back(start: Any, connect: Any, draw: Any) -> None:
    with start(queue_limit=1, workers=1) as server:
        server.engine.takes_s = 0.6
        for kind in KINDS:
            busy = threading.Thread(target=connect(server, "http"), args=("embed", draw(1)))
            busy.start()
            time.sleep(0.15)
            with pytest.raises(errors.Overloaded) as caught:
                connect(server, kind)("embed", draw(2))
            busy.join()
            assert caught.value.stable_reason == "QUEUE_FULL"
            assert 0 < caught.value.retry_after_s < 30
            assert caught.value.metadata["limit"] == "1"


def test_patience_gets_through_a_full_queue(start: Any, connect: Any, draw: Any) -> None:
    with start(queue_limit=1, workers=1) as server:
        server.engine.takes_s = 0.3
        for kind in KINDS:
            busy = threading.Thread(target=connect(server, "http"), args=("embed", draw(1)))
            busy.start()
            time.sleep(0.1)
            patient = connect(server, kind, retry=Retry(attempts=20, first_wait_s=0.05))
            assert len(patient("embed", draw(2)).values) == 64
            busy.join()


def test_a_deadline(start: Any, connect: Any, draw: Any) -> None:
    with start(workers=1) as server:
        server.engine.takes_s = 0.5
        for kind in KINDS:
            began = time.monotonic()
            with pytest.raises(errors.DeadlineExceeded):
                connect(server, kind, timeout_s=0.1)("embed", draw(1))
            assert time.monotonic() - began < 0.45


@pytest.mark.parametrize("kind", ["grpc-async", "http-async"])
def test_a_cancelled_call_leaves_nothing_waiting(kind: str, start: Any, connect: Any, draw: Any) -> None:
    with start(queue_limit=2, workers=1) as server:
        server.engine.takes_s = 0.3
        caller = connect(server, kind)

        async def leave() -> None:
            tasks = [asyncio.ensure_future(caller.client.embed(draw(n))) for n in range(2)]
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        caller.runner.run(leave())
        patient = connect(server, kind, retry=Retry(attempts=10, first_wait_s=0.05))
        assert patient("embed", draw(9)).values


def test_no_server(live: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for kind in KINDS:
        gone = type(live)(f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", live.engine, live.service, None)
        caller = gone.connect(kind, timeout_s=5.0)
        with pytest.raises(errors.ServerUnreachable, match=str(port)):
            caller("list_galleries")
        caller.close()


def test_the_wrong_port(live: Any) -> None:
    swapped = type(live)(
        "http://" + live.grpc, live.http.removeprefix("http://"), live.engine, live.service, None
    )
    for kind in KINDS:
        caller = swapped.connect(kind, timeout_s=5.0)
        with pytest.raises(VireidError) as caught:
            caller("list_galleries")
        assert caught.value.stable_reason in {"SERVER_UNREACHABLE", "DEADLINE_EXCEEDED"}
        caller.close()


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_one_client_serves_many_threads(kind: str, live: Any, connect: Any, draw: Any) -> None:
    caller = connect(live, kind)
    pictures = [draw(seed) for seed in range(16)]
    expected = [caller("embed", one).values for one in pictures]
    with ThreadPoolExecutor(8) as pool:
        numbers = [n % 16 for n in range(96)]
        found = list(pool.map(lambda n: caller("embed", pictures[n]).values, numbers))
    for number, values in zip(numbers, found, strict=True):
        assert values == pytest.approx(expected[number], abs=1e-6)


@pytest.mark.parametrize("kind", ["grpc-async", "http-async"])
def test_one_client_serves_many_tasks(kind: str, live: Any, connect: Any, draw: Any) -> None:
    caller = connect(live, kind)
    pictures = [draw(seed) for seed in range(16)]
    expected = [caller("embed", one).values for one in pictures]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(caller.client.embed(pictures[n % 16]) for n in range(48)))

    for number, found in enumerate(caller.runner.run(all_at_once())):
        assert found.values == pytest.approx(expected[number % 16], abs=1e-6)


@pytest.mark.parametrize("kind", ["grpc", "grpc-async"])
def test_many_images_in_one_call(kind: str, live: Any, connect: Any, draw: Any) -> None:
    caller = connect(live, kind)
    found = caller("embed_many", [draw(1), b"hello", draw(2), b""])
    assert found[0].values == pytest.approx(caller("embed", draw(1)).values, abs=1e-6)
    assert found[2].values == pytest.approx(caller("embed", draw(2)).values, abs=1e-6)
    assert [type(one) for one in (found[1], found[3])] == [errors.NotAnImage, errors.InvalidRequest]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_cleans_up(kind: str, live: Any) -> None:
    caller = live.connect(kind, retry=NEVER)
    assert isinstance(caller("list_galleries"), tuple)
    caller.close()
