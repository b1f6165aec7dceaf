"""Problems name the field that is wrong, where the caller wrote it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

SEARCH = "/v1/galleries/g/search"
ITEM = {"item_id": "a"}
MANY = [str(number) for number in range(1001)]


@pytest.mark.parametrize(
    ("body", "field", "pointer"),
    [
        ({"query": ITEM, "rerank": {"candidates": 5000}}, "rerank.candidates", "/rerank/candidates"),
        ({"query": ITEM, "filter": {"captured_from": "soon"}}, "filter.captured_from", "/filter/captured_from"),
        ({"query": ITEM, "filter": {"captured_to": "soon"}}, "filter.captured_to", "/filter/captured_to"),
        ({"query": ITEM, "filter": {"cameras": MANY}}, "filter.cameras", "/filter/cameras"),
        ({"query": ITEM, "filter": {"modalities": ["blue"]}}, "filter.modalities", "/filter/modalities"),
        ({"query": ITEM, "filter": {"attributes": dict.fromkeys(MANY, "")}}, "filter.attributes", "/filter/attributes"),
        ({"query": ITEM, "filter": {"camera": ["1"]}}, "filter.camera", "/filter/camera"),
        ({"query": ITEM, "filter": {"cameras": ["1", 2]}}, "filter.cameras[1]", "/filter/cameras/1"),
        ({"query": {"embedding": [0, "one"]}}, "query.embedding[1]", "/query/embedding/1"),
        ({"query": ITEM, "top_k": "many"}, "top_k", "/top_k"),
        ({"query": {"image": "?"}}, "query.image", "/query/image"),
        ({"query": {}}, "query", "/query"),
        (
            {"query": ITEM, "together": {"queries": [ITEM, {"image": "?"}]}},
            "together.queries[1].image", "/together/queries/1/image",
        ),
        ({"query": {"image": "", "modality": "blue"}}, "query.modality", "/query/modality"),
        (
            {"query": ITEM, "together": {"queries": [{"embedding": [1.0], "modality": "blue"}]}},
            "together.queries[0].modality", "/together/queries/0/modality",
        ),
        (
            {"query": ITEM, "together": {"queries": [{"embedding": [1.0]}]}},
            "together.queries[0].modality", "/together/queries/0/modality",
        ),
    ],
)  # fmt: skip
async def test_in_json(api: Any, body: dict[str, Any], field: str, pointer: str) -> None:
    status, _, problem = await api.refused("POST", SEARCH, json=body)
    assert status in {400, 422}
    assert [(one["field"], one["pointer"]) for one in problem["errors"]] == [(field, pointer)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "soon"),
        ("to", "soon"),
        ("rerank", 5000),
        ("camera", MANY),
        ("modalities", ["visible"] * 1001),
    ],
)
async def test_in_a_query_string(api: Any, draw: Callable[..., bytes], name: str, value: Any) -> None:
    _, _, problem = await api.refused("POST", SEARCH, params={name: value}, content=draw(1))
    assert [(one["field"], one["pointer"]) for one in problem["errors"]] == [(name, f"/{name}")]


@pytest.mark.parametrize(
    "embedding", [[], [1.0], [1.0] + [0.0] * 8, [2.0] + [0.0] * 7, [float("nan")] + [0.0] * 7, [0.0] * 8]
)
async def test_embeddings_that_are_none_are_named_where_they_stand(api: Any, embedding: list[float]) -> None:
    sound = {
        "embedding": [1.0] + [0.0] * 7,
        "space_id": api.made.service.space_id,
        "modality": "visible",
    }
    wrong = {**sound, "embedding": embedding}
    for body, field in (
        ({"query": wrong}, "query.embedding"),
        ({"query": sound, "together": {"queries": [sound, wrong]}}, "together.queries[1].embedding"),
    ):
        sent = json.dumps(body).encode()
        status, _, problem = await api.refused(
            "POST", SEARCH, content=sent, headers={"content-type": "application/json"}
        )
        assert status == 422
        assert [one["field"] for one in problem["errors"]] == [field]


async def test_of_the_path_and_the_query_string(api: Any) -> None:
    _, _, problem = await api.refused("GET", "/v1/galleries/g/items", params={"limit": "many"})
    assert [(one["field"], one["pointer"]) for one in problem["errors"]] == [("limit", "/limit")]
    assert problem["detail"].startswith("limit: ")
