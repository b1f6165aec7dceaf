"""Who may ask over HTTP: by which host name, from which page, with which key."""

from collections.abc import Callable
from typing import Any

import pytest


async def test_another_host_is_refused(http: Any, start: Callable[..., Any]) -> None:
    for bad in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::1", "localhost."):
        told = await http.refused("GET", "/v1/galleries", headers={"host": bad})
        assert told[:2] == (421, "HOST_NOT_ALLOWED")
    for good in ("localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"):
        assert (await http("GET", "/v1/galleries", headers={"host": good})).status_code == 200
    anywhere = await start(hosts=None)
    assert (await anywhere("GET", "/livez", headers={"host": "vireid.example"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "http://[x"},
        {"origin": "http://localhost:8080/"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_pages_of_other_sites_may_change_nothing(http: Any, headers: dict[str, str]) -> None:
    """What a page can send without asking first: plain text and forms, with any method of a form."""
    own = {"host": "localhost:8080", "content-type": "text/plain"}
    sent = {**own, **headers}
    made = await http.refused("POST", "/v1/galleries", headers=sent, content=b'{"name": "evil"}')
    gone = await http.refused("DELETE", "/v1/galleries/yard", headers=sent)
    assert made[:2] == gone[:2] == (403, "ORIGIN_NOT_ALLOWED")
    names = [one["name"] for one in (await http("GET", "/v1/galleries", headers=own)).json()["galleries"]]
    assert names == ["yard"]


async def test_the_own_page_may(http: Any) -> None:
    own = {"host": "localhost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    answer = await http("POST", "/v1/galleries", headers=own, content=b'{"name": "good"}')
    assert answer.status_code == 201
    # a link from elsewhere is followed
    assert (await http("GET", "/v1/galleries", headers={"sec-fetch-site": "cross-site"})).status_code == 200


async def test_every_call_but_health_and_the_page_asks_for_the_key(
    start: Callable[..., Any],
) -> None:
    key = "a-key-that-is-long-enough"
    http = await start(key=key)
    document = (await http("GET", "/openapi.json")).json()
    free = {"/livez", "/readyz", "/healthz"}
    asked = 0
    for path, operations in document["paths"].items():
        for method in operations:
            place = path.format(gallery="yard", item_id="a", job_id="x", snapshot="s")
            answer = await http(method.upper(), place)
            if path in free:
                assert answer.status_code == 200
                continue
            asked += 1
            assert answer.headers["www-authenticate"] == "Bearer"
            assert (await http.refused(method.upper(), place))[1] == "NO_CREDENTIALS", (method, path)
            wrong = {"authorization": "Bearer wrong-key-of-some-length"}
            assert (await http.refused(method.upper(), place, headers=wrong))[1] == "BAD_CREDENTIALS"
    assert asked > 15
    for good in ({"authorization": f"Bearer {key}"}, {"authorization": f"bearer {key}"}, {"x-api-key": key}):
        assert (await http("GET", "/v1/galleries", headers=good)).status_code == 200
    assert (await http("GET", "/")).status_code == 200
    assert "yard" not in (await http("GET", "/readyz")).text
    assert http.made.engine.batches == [1]  # only the readiness probe
