"""What a server says of itself is the same over either wire, to every client, and word by word what HTTP answers."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from clients.base import AsyncClient, Client
from clients.calls import Calls
from clients.server_info import info_of
from server.rebuild import Told
from vireid.errors import Unauthenticated

BUILDING = Told("tensorrt-fp16", "building_engine", "proving", 0.25, 61.5, "no plan of this graph is here")
FAILED = Told("tensorrt-fp16", "build_failed", "building", 0.5, 9.0, "out of memory")


def as_answered(live: Any) -> Any:
    return httpx.get(f"{live.http}/v1/info", trust_env=False).json()


@pytest.mark.parametrize("told", [None, BUILDING, FAILED])
def test_every_client_is_told_what_http_answers(
    client: Any, live: Any, told: Told | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.service, "building", lambda: None if told is None else told.as_json())
    found = client("info")
    document = as_answered(live)
    assert asdict(found) == {
        **document,
        "model": {**document["model"], "calibrated": tuple(document["model"]["calibrated"])},
        "engine": {**document["engine"], "not_taken": tuple(document["engine"]["not_taken"])},
    }
    assert (found.version, found.model.name, found.engine.name) == ("test", "fake", "fake")
    assert (found.model.input.height, found.limits.upload_bytes) == (live.engine.input_size[0], 2**24)
    if told is None:
        assert found.engine.building is None
    else:
        assert asdict(found.engine.building) == told.as_json()


def test_what_is_known_of_the_bundle_arrives(client: Any, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are of free form: nested, with whole numbers, nothing, and what is no number."""
    usual = live.service.info()
    model = {
        **usual["model"],
        "metrics": {"rank1": 0.5, "protocol": {"name": "sysu", "trials": 10, "camera": None}},
        "parity": {"passed": True, "worst": [{"cosine": 0.999}], "scale": float("nan")},
        "calibrated": [{"query": "visible", "gallery": "infrared", "reliability": {"ece": 0.01}}],
    }
    engine = {**usual["engine"], "not_taken": [{"name": "onnxruntime-int8", "reason": "it failed"}]}
    monkeypatch.setattr(live.service, "info", lambda: {"model": model, "engine": engine})
    found = client("info")
    assert found == info_of(as_answered(live))
    assert found.model.metrics["protocol"] == {"name": "sysu", "trials": 10, "camera": None}
    assert found.model.parity == {"passed": True, "worst": [{"cosine": 0.999}], "scale": None}
    assert found.model.calibrated[0]["reliability"] == {"ece": 0.01}
    assert found.engine.not_taken[0].reason == "it failed"


@pytest.mark.parametrize("kind", ["grpc", "http-async"])
def test_it_asks_for_the_key(kind: str, start: Callable[..., Any]) -> None:
    with start(key="a-good-key-of-some-length") as server:
        caller = server.connect(kind, api_key="another-key-of-some-length")
        with pytest.raises(Unauthenticated):
            caller("info")
        caller.close()


def test_what_a_newer_server_says_beside_is_passed_over(live: Any) -> None:
    document = as_answered(live)
    more = {**document, "mood": "good", "engine": {**document["engine"], "colour": "red"}}
    more["limits"] = {**document["limits"], "wishes": 3}
    assert info_of(more) == info_of(document)


def test_both_clients_offer_every_call() -> None:
    calls = {name for name, made in vars(Calls).items() if callable(made) and not name.startswith("_")}
    assert len(calls) >= 15
    for kind in (Client, AsyncClient):
        assert calls <= set(vars(kind))
        assert {vars(kind)[name].__wrapped__ for name in calls} == {vars(Calls)[name] for name in calls}
        assert all(vars(kind)[name].__wrapped__.__name__ == name for name in calls)
