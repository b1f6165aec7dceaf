"""The clients without their wire: every call of the service, with patience, synchronously and asynchronously.

A client of some wire is one of these two classes, given that wire's calls and a way to send them. What can be called, and with
which arguments, is said once, in ``clients.calls``.
"""

import asyncio
import functools
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

from clients.call import USUAL, Answer, Call, Choices, Progress, Wire
from clients.calls import Calls
from clients.replies import Evaluation
from clients.retry import Retry
from vireid.errors import VireidError
from vireid.types import Centring, CentringTrial, Snapshot

DEFAULT_TIMEOUT_S = 30.0

Arguments = ParamSpec("Arguments")


def _waited_for(
    said: "Callable[Concatenate[Calls, Arguments], Call[Answer]]",
) -> "Callable[Concatenate[Client, Arguments], Answer]":
    """Make of a call a method that returns its answer."""

    @functools.wraps(said)
    def method(client: "Client", /, *values: Arguments.args, **named: Arguments.kwargs) -> Answer:
        return client._run(said(client._calls, *values, **named))

    return method


def _awaited(
    said: "Callable[Concatenate[Calls, Arguments], Call[Answer]]",
) -> "Callable[Concatenate[AsyncClient, Arguments], Coroutine[Any, Any, Answer]]":
    """Make of a call a method that is awaited for its answer."""

    @functools.wraps(said)
    async def method(client: "AsyncClient", /, *values: Arguments.args, **named: Arguments.kwargs) -> Answer:
        return await client._run(said(client._calls, *values, **named))

    return method


class Client(ABC):
    """The service, from outside: same types, same errors. One client may be shared by many threads.

    Args:
        wire: builds the calls.
        retry: patience with a busy or restarting server.
    """

    def __init__(self, wire: Wire, retry: Retry | None) -> None:
        self._calls = Calls(wire)
        self._retry = retry or Retry()

    info = _waited_for(Calls.info)
    embed = _waited_for(Calls.embed)
    search = _waited_for(Calls.search)
    create_gallery = _waited_for(Calls.create_gallery)
    retain = _waited_for(Calls.retain)
    get_gallery = _waited_for(Calls.get_gallery)
    list_galleries = _waited_for(Calls.list_galleries)
    delete_gallery = _waited_for(Calls.delete_gallery)
    put_item = _waited_for(Calls.put_item)
    get_item = _waited_for(Calls.get_item)
    list_items = _waited_for(Calls.list_items)
    facets = _waited_for(Calls.facets)
    delete_items = _waited_for(Calls.delete_items)
    list_snapshots = _waited_for(Calls.list_snapshots)
    delete_snapshot = _waited_for(Calls.delete_snapshot)

    @abstractmethod
    def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery as ``vireid evaluate`` does, and wait for the report.

        Args:
            gallery: whose items are found.
            choices: who asks, and how answers are counted.
            progress: told the queries that are done and their total; what it raises ends the evaluation.

        Raises:
            VireidError: what the server raised, why the evaluation failed, or ``ServerUnreachable``.
        """

    @abstractmethod
    def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Take each modality's own mean off what is searched in a gallery, and wait until that is in use.

        Args:
            gallery: its name; it is searched meanwhile as before.
            strength: how much of each mean is taken off, above 0 to 1.
            half: leave a modality as it came that has too few vectors.

        Returns:
            How the gallery is centred now.

        Raises:
            FailedPrecondition: too few vectors (reason ``TOO_FEW_TO_CENTRE``).
            VireidError: what else the server raised, or ``ServerUnreachable``.
        """

    @abstractmethod
    def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring, and wait until that is in use.

        Returns:
            How the gallery is centred now; None if it is not.

        Raises:
            FailedPrecondition: it is not centred (reason ``NOT_CENTRED``).
            VireidError: what else the server raised, or ``ServerUnreachable``.
        """

    @abstractmethod
    def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what ``centre`` with the same arguments would bring, and change nothing."""

    @abstractmethod
    def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy, however long it takes.

        Args:
            gallery: its name.
            keep_days: after how many days the server removes the copy; 0 keeps it.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the connection back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _send(self, request: Any) -> Any:
        """Send a request once; its reply, or the error the server raised."""

    def _run(self, call: Call[Answer]) -> Answer:
        for failed in itertools.count(1):
            try:
                return call.read(self._send(call.request))
            except VireidError as error:
                wait_s = self._retry.wait_s(failed, error, repeatable=call.repeatable)
                if wait_s is None:
                    raise
            time.sleep(wait_s)
        raise AssertionError("the loop above ends by return or raise")


class AsyncClient(ABC):
    """The service, from outside, asynchronously; belongs to the event loop that first uses it.

    Args:
        wire: builds the calls.
        retry: patience with a busy or restarting server.
    """

    def __init__(self, wire: Wire, retry: Retry | None) -> None:
        self._calls = Calls(wire)
        self._retry = retry or Retry()

    info = _awaited(Calls.info)
    embed = _awaited(Calls.embed)
    search = _awaited(Calls.search)
    create_gallery = _awaited(Calls.create_gallery)
    retain = _awaited(Calls.retain)
    get_gallery = _awaited(Calls.get_gallery)
    list_galleries = _awaited(Calls.list_galleries)
    delete_gallery = _awaited(Calls.delete_gallery)
    put_item = _awaited(Calls.put_item)
    get_item = _awaited(Calls.get_item)
    list_items = _awaited(Calls.list_items)
    facets = _awaited(Calls.facets)
    delete_items = _awaited(Calls.delete_items)
    list_snapshots = _awaited(Calls.list_snapshots)
    delete_snapshot = _awaited(Calls.delete_snapshot)

    @abstractmethod
    async def evaluate(
        self, gallery: str, choices: Choices = USUAL, *, progress: Progress | None = None
    ) -> Evaluation:
        """Measure a labelled gallery and wait for the report; the arguments are those of ``Client.evaluate``."""

    @abstractmethod
    async def centre(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> Centring | None:
        """Centre a gallery, and wait until that is in use; the arguments are those of ``Client.centre``."""

    @abstractmethod
    async def uncentre(self, gallery: str) -> Centring | None:
        """Go back to what was before a gallery's last centring; see ``Client.uncentre``."""

    @abstractmethod
    async def try_centring(self, gallery: str, *, strength: float = 1.0, half: bool = False) -> CentringTrial:
        """Measure what ``centre`` with the same arguments would bring, and change nothing."""

    @abstractmethod
    async def snapshot(self, gallery: str, *, keep_days: int = 0) -> Snapshot:
        """Copy a gallery on the server's disk, and wait for the copy; the arguments are those of ``Client.snapshot``."""

    @abstractmethod
    async def close(self) -> None:
        """Give the connection back."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def _send(self, request: Any) -> Any:
        """Send a request once; its reply, or the error the server raised."""

    async def _run(self, call: Call[Answer]) -> Answer:
        for failed in itertools.count(1):
            try:
                return call.read(await self._send(call.request))
            except VireidError as error:
                wait_s = self._retry.wait_s(failed, error, repeatable=call.repeatable)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("the loop above ends by return or raise")
