"""The OpenAPI document: valid, complete, and true."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from server.http import schemas


@pytest.fixture
async def document(api: Any) -> dict[str, Any]:
    answer = await api("GET", "/openapi.json")
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


async def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPI.model_validate(document)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    held = set(document["components"]["schemas"])
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= held
    assert {"Problem", "SearchBody", "QueryBody", "FilterBody"} <= named


async def test_every_call_is_described(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["responses"]["4XX"]["content"] == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
        good = [told for status, told in operation["responses"].items() if status.startswith("2")]
        assert good, (method, path)
        assert all("schema" in part for told in good for part in told["content"].values()), (method, path)
        placed = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert placed == set(re.findall(r"{(\w+)}", path))
        takes_body = method in {"post", "put", "patch"} and not path.endswith(":cancel")
        assert ("requestBody" in operation) is takes_body, (method, path)


async def test_raw_bodies_are_described(document: dict[str, Any]) -> None:
    search = document["paths"]["/v1/galleries/{gallery}/search"]["post"]["requestBody"]["content"]
    assert search["image/jpeg"]["schema"]["format"] == "binary"
    assert search["application/json"]["schema"] == {"$ref": "#/components/schemas/SearchBody"}
    upload = document["paths"]["/v1/galleries/{gallery}/items:upload"]["post"]["requestBody"]["content"]
    assert {"application/zip", "application/x-tar", "application/gzip", "application/x-ndjson",
            "multipart/form-data"} <= set(upload)  # fmt: skip


async def test_documented_calls_are_all_there_are(api: Any, document: dict[str, Any]) -> None:
    expected = """
        get /livez /readyz /healthz /metrics /v1/info /v1/galleries /v1/galleries/{gallery} /v1/jobs /v1/jobs/{job_id}
            /v1/galleries/{gallery}/items /v1/galleries/{gallery}/items/{item_id} /v1/galleries/{gallery}/facets
            /v1/galleries/{gallery}/items/{item_id}/image /v1/galleries/{gallery}/items/{item_id}/thumbnail
            /v1/evaluations/{job_id} /v1/evaluations/{job_id}/report.json /v1/evaluations/{job_id}/report.csv
            /v1/evaluations/{job_id}/report.html /v1/galleries/{gallery}/snapshots
        post /v1/embed /v1/galleries /v1/galleries/{gallery}/search /v1/galleries/{gallery}/items:upload
            /v1/galleries/{gallery}/items:delete /v1/evaluations /v1/jobs/{job_id}:cancel
            /v1/galleries/{gallery}/snapshots /v1/galleries/{gallery}/centring
            /v1/galleries/{gallery}/centring:evaluate
        put /v1/galleries/{gallery}/items/{item_id}
        patch /v1/galleries/{gallery}
        delete /v1/galleries/{gallery} /v1/galleries/{gallery}/items/{item_id}
            /v1/galleries/{gallery}/snapshots/{snapshot} /v1/galleries/{gallery}/centring
    """
    wanted = set()
    method = ""
    for word in expected.split():
        if word.startswith("/"):
            wanted.add((method, word))
        else:
            method = word
    assert {(method, path) for method, path, _ in operations(document)} == wanted


def test_schemas_forbid_what_they_do_not_name() -> None:
    models = [
        one for one in vars(schemas).values() if isinstance(one, type) and one.__module__ == schemas.__name__
    ]
    assert len(models) > 20
    assert all(model.model_config["extra"] == "forbid" for model in models)  # type: ignore[attr-defined]
