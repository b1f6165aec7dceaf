"""From an HTTP answer that is no success back to the error the server raised.

Reads problem documents (RFC 9457). Knows no path and no request.
"""

import json
from collections.abc import Mapping
from typing import Any

from clients import failures
from vireid.errors import VireidError

FIRST_FAILURE = 400


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> VireidError:
    """Make the error that the server raised.

    Args:
        status: of the answer, 400 or more.
        headers: of the answer; names in any case are looked up by the caller's mapping.
        body: a problem document, or what some proxy wrote.

    Returns:
        The error, not raised.
    """
    problem = _document(body)
    violations = problem.get("errors") or [{}]
    return failures.rebuild(
        str(problem.get("detail") or problem.get("title") or _bare(status, body)),
        reason=str(problem.get("reason", "")),
        otherwise=failures.of_http_status(status),
        metadata={str(key): str(value) for key, value in (problem.get("metadata") or {}).items()},
        field=str(violations[0].get("field") or violations[0].get("pointer") or "").lstrip("/#"),
        retry_after_s=_retry_after_s(problem, headers),
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _bare(status: int, body: bytes) -> str:
    said = body[:200].decode("utf-8", "replace").strip()
    return f"the server answered {status}" + (f": {said}" if said else "")


def _retry_after_s(problem: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    for told in (problem.get("retry_after_s"), headers.get("retry-after")):
        try:
            if told is not None:
                return max(0.0, float(told))
        except (TypeError, ValueError):  # a date: rare, and the default wait serves as well
            continue
    return None
