"""Around every request: an id, the allowed hosts and paths, security headers, a count. Plain ASGI, no route known."""

import os
import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http import problem
from server.metrics import Metrics
from vireid.errors import Overloaded

# what the admission queue refuses is far below; this bounds the memory of bodies not yet whole
MOST_REQUESTS = 1024
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+)\]|(?P<plain>[A-Za-z0-9.-]+))(?::[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES = frozenset({"none", "same-origin"})
_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": _POLICY,
}


class Envelope:
    """Wraps an ASGI app.

    Args:
        app: the app.
        metrics: told each answer's route and status.
        hosts: allowed values of the Host header without the port, or None for any.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: Sequence[str] | None) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = None if hosts is None else frozenset(hosts)
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._handle(scope, receive, send)
        finally:
            self._inside -= 1

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["vireid.request_id"] = given if _ID.fullmatch(given) else os.urandom(16).hex()

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out["x-request-id"] = scope["vireid.request_id"]
                for name, value in _SECURITY.items():
                    out.setdefault(name, value)
                self._metrics.requests.labels(_call(scope), str(message["status"])).inc()
            await send(message)

        if self._inside > MOST_REQUESTS:
            refusal = problem.of_error(
                Overloaded(
                    f"{self._inside} requests are under way, {MOST_REQUESTS} may be; try again in 1 s",
                    retry_after_s=1.0,
                    metadata={"limit": str(MOST_REQUESTS)},
                ),
                problem.request_id(Request(scope)),
            )
            await refusal(scope, receive, send_more)
            return
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            refusal = problem.response(
                421,
                reason="HOST_NOT_ALLOWED",
                detail=f"found host {headers.get('host', '')[:100]!r}; this server answers on loopback only",
                instance=problem.request_id(Request(scope)),
            )
            await refusal(scope, receive, send_more)
            return
        if _is_foreign(
            scope["method"], headers
        ):  # a page of another site, with the browser of somebody who may
            refusal = problem.response(
                403,
                reason="ORIGIN_NOT_ALLOWED",
                detail=f"the request comes from a page of {headers.get('origin', 'another site')[:100]!r}; pages of other "
                "sites may not change anything here",
                instance=problem.request_id(Request(scope)),
            )
            await refusal(scope, receive, send_more)
            return
        if _CONTROL.search(scope["path"]):  # a route's pattern would let a line break at the end pass unseen
            refusal = problem.response(
                400,
                reason="MALFORMED_REQUEST",
                detail=f"the path {scope['path'][:100]!r} holds a control character; none of our names has one",
                instance=problem.request_id(Request(scope)),
            )
            await refusal(scope, receive, send_more)
            return
        await self._app(scope, receive, send_more)


def _call(scope: Scope) -> str:
    """Name a call by its route: what callers may make up must not become a name."""
    path = getattr(scope.get("route"), "path", None)
    return "other" if path is None else f"{scope['method']} {path}"


def _is_foreign(method: str, headers: Headers) -> bool:
    """Whether a browser says that a page of another site asks for more than to read (RFC 6454, Fetch Metadata)."""
    if method in _READING:
        return False
    origin = headers.get("origin")
    own = origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower()
    return not own or headers.get("sec-fetch-site", "none") not in _OWN_PAGES


def _host(value: str) -> str:
    """Read a Host header without its port, in lower case; empty where it is none."""
    found = _HOST.fullmatch(value)
    return (found["bracketed"] or found["plain"]).lower() if found else ""
