"""The calls that are made most, past the machinery of routes: same handler, same guard, same errors.

A route of the framework costs more than all of our own work around an image. The route stays where it is, for
the API's document; here its calls are caught before they get there. Plain ASGI.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http import problem
from vireid.errors import VireidError

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call by method and path; carries the name that metrics know a route by."""

    method: str
    path: str


class Direct:
    """Answers some calls itself and hands all others on.

    Args:
        app: has a route for each of the calls as well.
        handlers: what answers each call.
        guard: raises for who may not ask.
    """

    def __init__(
        self, app: ASGIApp, handlers: Mapping[Call, Handler], guard: Callable[[Request], Awaitable[None]]
    ) -> None:
        self._app = app
        self._handlers = {(call.method, call.path): (call, handler) for call, handler in handlers.items()}
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = self._handlers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], handler = found
        request = Request(scope, receive)
        try:
            await self._guard(request)
            answer = await handler(request)
        except VireidError as error:
            answer = problem.of_error(error, problem.request_id(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a problem and the log the rest
            answer = problem.of_fault(error, problem.request_id(request))
        await answer(scope, receive, send)
