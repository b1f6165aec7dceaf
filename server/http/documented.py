"""The OpenAPI document: request bodies that handlers read themselves, and every schema they name.

FastAPI describes what it parses; bodies are read by ``server.http.bodies`` with a cap, and described here.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

PLACE = "#/components/schemas/{model}"
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILES = {
    "schema": {
        "type": "object",
        "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that is a JSON document."""
    return _body({"application/json": _reference(model)})


def raw_body(
    media: Iterable[str], document: type[BaseModel] | None = None, form: bool = False
) -> dict[str, Any]:
    """Describe a body of raw bytes, or else a JSON document or a form of files."""
    content: dict[str, Any] = dict.fromkeys(media, BINARY)
    if document is not None:
        content["application/json"] = _reference(document)
    if form:
        content["multipart/form-data"] = FILES
    return _body(content)


def pictures(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a picture."""
    return {
        200: {"description": "The picture", "content": dict.fromkeys(kinds, BINARY)},
        304: {"description": "The picture of If-None-Match is still the one"},
    }


def files(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a file."""
    return {
        200: {"description": "The file", "content": {kind: {"schema": {"type": "string"}} for kind in kinds}}
    }


def install(app: FastAPI, models: Iterable[type[BaseModel]]) -> None:
    """Make the app's document hold the schemas of documents that handlers read themselves."""
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=PLACE)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        document["security"] = [{"bearer": []}, {"key": []}, {}]  # none where the server has no keys
        schemas = components.setdefault("schemas", {})
        for name, schema in found["$defs"].items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": PLACE.format(model=model.__name__)}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
