"""What HTTP callers ask, read and checked: query strings and JSON documents."""

import base64
import binascii
from collections.abc import Iterable, Set
from typing import Annotated

import numpy as np
from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict

from index.limits import check_values
from server import answers, ranking
from server.http import bodies
from vireid.described import modality_of, moment_of
from vireid.errors import InvalidRequest
from vireid.evaluation.protocol import Rerank
from vireid.types import Filter, Modality

Words = Annotated[list[str] | None, Query()]


async def image_body(request: Request, modality: str) -> answers.ImageQuery:
    """Read an encoded image as the whole body.

    Raises:
        InvalidRequest: it is empty, or the modality is unknown.
        ImageTooLarge: it is over the cap of an image.
    """
    said = modality_of(modality)
    return answers.ImageQuery(await bodies.image(request), said)


async def known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know.

    Raises:
        InvalidRequest: there is one; the known ones are named.
    """
    route = request.scope["route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    for dependency in route.dependant.dependencies:
        known |= {parameter.alias for parameter in dependency.query_params}
    check_known(request, known)


def check_known(request: Request, known: Set[str]) -> None:
    """Refuse query parameters that are not among the known ones.

    Raises:
        InvalidRequest: there is one; the known ones are named.
    """
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise InvalidRequest(
            f"unknown query parameter {unknown[0]!r}; this call knows {', '.join(sorted(known)) or 'none'}",
            field=unknown[0],
            reason="UNKNOWN_PARAMETER",
        )


async def filter_parameters(  # noqa: PLR0913 - one for each field of a filter
    camera: Words = None,
    exclude_camera: Words = None,
    person: Words = None,
    modalities: Words = None,
    exclude_item: Words = None,
    attribute: Words = None,
    captured_from: Annotated[str, Query(alias="from")] = "",
    captured_to: Annotated[str, Query(alias="to")] = "",
) -> Filter:
    """Read a filter from the query string; a name may be repeated, an attribute is ``key=value``."""
    return Filter(
        cameras=_few(camera, "camera"),
        exclude_cameras=_few(exclude_camera, "exclude_camera"),
        captured_from=moment_of(captured_from, "from"),
        captured_to=moment_of(captured_to, "to"),
        modalities=_modalities(modalities, "modalities"),
        persons=_few(person, "person"),
        exclude_items=_few(exclude_item, "exclude_item"),
        attributes=_pairs(_few(attribute, "attribute")),
    )


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FilterBody(_Body):
    """Which items; an empty field does not restrict."""

    cameras: list[str] = []
    exclude_cameras: list[str] = []
    captured_from: str = ""
    captured_to: str = ""
    modalities: list[str] = []
    persons: list[str] = []
    exclude_items: list[str] = []
    attributes: dict[str, str] = {}

    def value(self) -> Filter:
        """Return it as a filter."""
        return Filter(
            cameras=_few(self.cameras, "filter.cameras"),
            exclude_cameras=_few(self.exclude_cameras, "filter.exclude_cameras"),
            captured_from=moment_of(self.captured_from, "filter.captured_from"),
            captured_to=moment_of(self.captured_to, "filter.captured_to"),
            modalities=_modalities(self.modalities, "filter.modalities"),
            persons=_few(self.persons, "filter.persons"),
            exclude_items=_few(self.exclude_items, "filter.exclude_items"),
            attributes=_fewer(self.attributes, "filter.attributes"),
        )


class QueryBody(_Body):
    """What to search with: one of an image in base64, an item of the gallery, an embedding of the same space."""

    image: str | None = None
    item_id: str | None = None
    embedding: list[float] | None = None
    space_id: str = ""
    modality: str = "auto"

    def value(self, place: str = "query") -> answers.Query:
        """Return it as a query.

        Args:
            place: where it stands in the request, for errors.

        Raises:
            InvalidRequest: none or several of the three, or a malformed one.
        """
        given = [name for name in ("image", "item_id", "embedding") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidRequest(
                f"the query holds {' and '.join(given) or 'nothing'}; expected one of image, item_id, embedding",
                field=place,
            )
        if self.item_id is not None:
            return answers.ItemQuery(self.item_id)
        if self.embedding is not None:
            modality = modality_of(self.modality, f"{place}.modality")
            if modality is None:
                raise InvalidRequest(
                    "an embedding needs its modality: visible or infrared", field=f"{place}.modality"
                )
            # what a float32 cannot hold becomes infinite, and is refused as such
            with np.errstate(over="ignore"):
                vector = np.array(self.embedding, np.float32)
            return answers.VectorQuery(vector, self.space_id, modality)
        assert self.image is not None
        return answers.ImageQuery(
            _decoded(self.image, f"{place}.image"), modality_of(self.modality, f"{place}.modality")
        )


class RerankBody(_Body):
    """Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017) of the best candidates."""

    candidates: int = 100
    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def value(self) -> Rerank:
        """Return it as parameters.

        Raises:
            InvalidRequest: they do not fit together.
        """
        return ranking.parameters(self.candidates, self.k1, self.k2, self.weight)


class TogetherBody(_Body):
    """More queries that show the person of the first: searched with by their mean, or each item by its best score."""

    queries: list[QueryBody]
    weights: list[float] = []
    by: str = "mean"

    def value(self) -> answers.Together:
        """Return them as queries.

        Raises:
            InvalidRequest: a malformed query, or an unknown way.
        """
        way = one_of(self.by, ("mean", "best"), "together.by")
        queries = tuple(query.value(f"together.queries[{at}]") for at, query in enumerate(self.queries))
        return answers.Together(queries, tuple(self.weights), "best" if way == "best" else "mean")


class SearchBody(_Body):
    """A search as one JSON document."""

    query: QueryBody
    top_k: int = 10
    min_score: float | None = None
    min_probability: float | None = None
    rerank: RerankBody | None = None
    filter: FilterBody = FilterBody()
    one_per_person: bool = False
    exclude_own_camera: bool = False
    more_like: list[str] = []
    less_like: list[str] = []
    together: TogetherBody | None = None
    other_modality_first: bool = False


class GalleryBody(_Body):
    """A gallery to make."""

    name: str
    store_images: bool = True
    retention_s: int = 0


class GalleryChange(_Body):
    """What is to be changed of a gallery: how long after their enrolment its items expire, 0 for no such time."""

    retention_s: int


class SnapshotBody(_Body):
    """A snapshot to make; it is removed after so many days, 0 keeps it."""

    keep_days: int = 0


class CentringBody(_Body):
    """A centring: how much of each mean is taken off, and whether one modality may be left as it came for want of vectors."""

    strength: float = 1.0
    half: bool = False


class DeleteBody(_Body):
    """Items to remove: by id or by filter."""

    item_ids: list[str] | None = None
    filter: FilterBody | None = None
    dry_run: bool = False


class EvaluationBody(_Body):
    """An evaluation to run; the labelled items of ``query_gallery`` ask, or where it is empty those of ``gallery``."""

    gallery: str
    query_modality: str = "infrared"
    gallery_modality: str = "visible"
    rule: str = "none"
    cmc: str = "identity"
    rerank: RerankBody | None = None
    query_gallery: str = ""
    html: bool = False


def one_of(word: str, known: Iterable[str], field: str) -> str:
    """Accept one of some words.

    Raises:
        InvalidRequest: another word.
    """
    words = tuple(known)
    if word not in words:
        raise InvalidRequest(f"found {field} {word!r}; expected one of {', '.join(words)}", field=field)
    return word


def certain_modality(word: str, field: str) -> Modality:
    """Read ``visible`` or ``infrared``."""
    return Modality.of(one_of(word, ("visible", "infrared"), field))


def _few(words: list[str] | None, field: str) -> tuple[str, ...]:
    check_values(len(words or ()), field)
    return tuple(words or ())


def _fewer(pairs: dict[str, str], field: str) -> dict[str, str]:
    check_values(len(pairs), field)
    return dict(pairs)


def _pairs(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:  # the first sign ends the key: a key that holds one can be asked for in JSON only
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise InvalidRequest(f"found attribute {word!r}; expected key=value", field="attribute")
        if key in found:
            raise InvalidRequest(
                f"attribute {key!r} is asked for twice; an item has one value of it: ask once for each value",
                field="attribute",
            )
        found[key] = value
    return found


def _modalities(words: list[str] | None, field: str) -> tuple[Modality, ...]:
    return tuple(certain_modality(word, field) for word in _few(words, field))


def _decoded(text: str, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("image is no base64", field=field, reason="MALFORMED_BASE64") from None
