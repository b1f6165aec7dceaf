"""Whatever is asked, nothing breaks inside: no answer is a 5xx, and every refusal is a problem with a reason."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from server.http import schemas

Draw = Callable[..., bytes]
SEED, TURNS = 20261121, 1000
WORDS = ("g", "a", "x/1", "", ".", "..", "a b", "é", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
         "x" * 300, "null", "0", "-1", "1e999", "NaN", "2026-03-01T10:00:00Z", "9999-12-31T23:59:59-14:00",
         "0001-01-01T00:00:00+14:00", "visible", "infrared", "auto", "a=b", "=", "%", "' OR 1=1 --", "\\", "image",
         "thumbnail", "items:delete", "true", "18446744073709551616", "9223372036854775807")  # fmt: skip
PARAMETERS = ("top_k", "modality", "min_score", "camera", "exclude_camera", "person", "modalities", "exclude_item",
              "attribute", "from", "to", "limit", "cursor", "captured_at", "nonsense")  # fmt: skip
FIELDS = ("query", "image", "item_id", "embedding", "space_id", "modality", "top_k", "min_score", "filter", "cameras",
          "captured_from", "captured_to", "modalities", "persons", "attributes", "name", "store_images", "item_ids",
          "dry_run", "gallery", "query_modality", "rule", "cmc", "nonsense")  # fmt: skip
METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")
KINDS = ("application/json", "application/zip", "application/x-ndjson", "multipart/form-data",
         "multipart/form-data; boundary=b", "image/jpeg", "application/octet-stream",
         "", "é".encode().decode("latin-1"))  # fmt: skip


class Nonsense:
    """Makes up requests; the same ones every time."""

    def __init__(self, draw: Draw) -> None:
        self._random = random.Random(SEED)
        self._picture = draw(1)

    def word(self) -> str:
        return self._random.choice(WORDS)

    def place(self) -> tuple[str, str]:
        """Choose a route: the method it knows, and a path."""
        chosen = self._random
        gallery = f"/v1/galleries/{quote(chosen.choice(('g', 'g', 'g', self.word())))}"
        item = f"{gallery}/items/{quote(chosen.choice(('a', self.word())))}"
        return chosen.choice(
            (
                ("GET", "/v1/galleries"),
                ("POST", "/v1/galleries"),
                ("GET", gallery),
                ("DELETE", gallery),
                ("GET", f"{gallery}/items"),
                ("GET", item),
                ("PUT", item),
                ("DELETE", item),
                ("GET", f"{item}/image"),
                ("GET", f"{item}/thumbnail"),
                ("POST", f"{gallery}/items:delete"),
                ("POST", f"{gallery}/items:upload"),
                ("POST", f"{gallery}/search"),
                ("POST", f"{gallery}/search"),
                ("GET", f"{gallery}/facets"),
                ("POST", "/v1/embed"),
                ("POST", "/v1/evaluations"),
                ("GET", f"/v1/evaluations/{quote(self.word())}"),
                ("GET", f"/v1/jobs/{quote(self.word())}"),
                ("POST", f"/v1/jobs/{quote(self.word())}:cancel"),
                ("GET", f"/{quote(self.word())}"),
            )
        )

    def value(self, depth: int = 0) -> Any:
        kinds: tuple[Callable[[], Any], ...] = (
            self.word,
            lambda: self._random.choice((None, True, 0, -1, 3, 2**63, 2**64, 1e308, 0.5)),
            lambda: base64.b64encode(self._picture).decode(),
            lambda: [self.value(depth + 1) for _ in range(self._random.randrange(4))],
            lambda: {
                self._random.choice(FIELDS): self.value(depth + 1) for _ in range(self._random.randrange(5))
            },
        )
        return self._random.choice(kinds[: 3 if depth > 3 else None])()

    def document(self) -> Any:
        near = {
            "query": self._random.choice(
                ({"item_id": "a"}, {"image": base64.b64encode(self._picture).decode()})
            ),
            "filter": {self._random.choice(FIELDS[8:]): self.value()},
        }
        return self._random.choice((near, {**near, self._random.choice(FIELDS): self.value()}, self.value()))

    def body(self) -> bytes:
        return self._random.choice(
            (
                lambda: b"",
                lambda: self._picture,
                lambda: self._random.randbytes(self._random.randrange(200)),
                lambda: json.dumps(self.document()).encode(),
                lambda: (
                    b'--b\r\ncontent-disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
                    + self._picture
                    + b"\r\n--b--\r\n"
                ),
                lambda: b"--b--\r\n",
            )
        )()

    def request(self) -> tuple[str, str, dict[str, Any]]:
        chosen = self._random
        parameters = [(chosen.choice(PARAMETERS), self.word()) for _ in range(chosen.choice((0, 0, 0, 1, 2)))]
        headers = {"content-type": chosen.choice(KINDS)}
        if chosen.random() < 0.1:
            headers["x-meta"] = base64.b64encode(json.dumps(self.value()).encode()).decode()
        if chosen.random() < 0.1:
            headers["idempotency-key"] = chosen.choice(("k", "k" * 201))
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        method, path = self.place()
        if chosen.random() < 0.15:
            method = chosen.choice(METHODS)
        return method, path, {
            "params": parameters, "content": self.body(), "headers": encoded,
        }  # fmt: skip


async def test_nothing_breaks_inside(api: Any, draw: Draw) -> None:
    await api.put("a", draw(1), camera="1", person="p")
    nonsense = Nonsense(draw)
    statuses: dict[int, int] = {}
    for _ in range(TURNS):
        method, path, more = nonsense.request()
        answer = await api.client.request(method, path, **more)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        asked = f"{method} {path} {more}\n{answer.text}"
        assert answer.status_code < 500, asked
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json", asked
            told = schemas.Problem.model_validate(answer.json())
            assert told.reason != "HTTP_ERROR", asked
        if not (await api.client.get("/v1/galleries/g")).is_success:  # it was deleted, as was asked
            await api.gallery()
            await api.put("a", draw(1), camera="1", person="p")
    # nonsense that is all refused at the door would prove little
    assert statuses[200] > TURNS / 20
    assert {200, 201, 400, 404, 405, 422} <= set(statuses), statuses
    assert (await api.client.get("/readyz")).status_code == 200
