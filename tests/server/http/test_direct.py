"""The call that goes past the framework's routes behaves as a route does, and as its document says."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

Draw = Callable[..., bytes]
EMBED = "/v1/embed"


async def test_it_knows_the_parameters_that_its_document_names(begin: Any, draw: Draw) -> None:
    api = await begin()
    document = await api.ok("GET", "/openapi.json")
    (named,) = [p["name"] for p in document["paths"][EMBED]["post"]["parameters"]]
    status, reason, body = await api.refused("POST", EMBED, content=draw(1), params={"nonsense": "1"})
    assert (status, reason) == (422, "UNKNOWN_PARAMETER")
    assert f"this call knows {named}" in body["detail"]
    await api.ok("POST", EMBED, content=draw(1), params={named: "infrared"})


async def test_it_asks_for_the_key_as_all_others_do(begin: Any, draw: Draw) -> None:
    api = await begin(key="a key of sixteen")
    assert (await api.refused("POST", EMBED, content=draw(1)))[:2] == (401, "NO_CREDENTIALS")
    good = {"authorization": "Bearer a key of sixteen"}
    await api.ok("POST", EMBED, content=draw(1), headers=good)


async def test_what_nobody_foresaw_is_a_problem_and_not_told(
    begin: Any, draw: Draw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = await begin()

    async def broken(*_asked: Any, **_named: Any) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr(api.made.service, "embed", broken)
    with caplog.at_level(logging.ERROR):
        status, _, body = await api.refused("POST", EMBED, content=draw(1))
    assert status == 500
    assert "inside" not in str(body)
    assert "the inside of the server" in caplog.text


async def test_it_is_counted_under_its_name(begin: Any, draw: Draw) -> None:
    api = await begin()
    await api.ok("POST", EMBED, content=draw(1))
    await api.refused("POST", EMBED, content=b"")
    told = (await api("GET", "/metrics")).text
    assert 'vireid_requests_total{code="200",method="POST /v1/embed"} 1.0' in told
    assert 'vireid_requests_total{code="422",method="POST /v1/embed"} 1.0' in told


async def test_another_method_or_path_is_none_of_its(begin: Any, draw: Draw) -> None:
    api = await begin()
    assert (await api.refused("GET", EMBED))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert (await api.refused("POST", EMBED + "/x", content=draw(1)))[0] == 404
