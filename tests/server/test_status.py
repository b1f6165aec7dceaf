"""The two tables of statuses: every error has its place in both."""

from collections.abc import Iterator
from http import HTTPStatus

import grpc
import pytest

from server import status
from vireid import errors

GIVEN_BY_NGINX = 499


def kinds(kind: type[errors.VireidError]) -> Iterator[type[errors.VireidError]]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds(below)


ALL = sorted(
    {kind for kind in kinds(errors.VireidError) if kind.__module__ == errors.__name__},
    key=lambda k: k.__name__,
)


@pytest.mark.parametrize("table", [status.HTTP, status.GRPC], ids=["HTTP", "gRPC"])
def test_every_branch_is_in_the_table(table: dict[type[errors.VireidError], object]) -> None:
    private = [kind for kind in ALL if kind.__name__.startswith("_")]
    branches = [
        kind
        for kind in ALL
        if kind not in private and (kind.__bases__[0] is errors.VireidError or kind.__bases__[0] in private)
    ]
    assert len(branches) > 20
    assert [kind.__name__ for kind in branches if kind not in table] == []


def test_statuses_exist() -> None:
    known = {int(one) for one in HTTPStatus} | {GIVEN_BY_NGINX}
    assert set(status.HTTP.values()) <= known
    assert set(status.GRPC.values()) <= {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("error", "http", "rpc"),
    [
        (errors.GalleryNotFound("x"), 404, "NOT_FOUND"),
        (errors.EmbeddingNotFinite("x"), 422, "INVALID_ARGUMENT"),
        (errors.TooManyPixels("x"), 413, "INVALID_ARGUMENT"),
        (errors.NotAnImage("x"), 415, "INVALID_ARGUMENT"),
        (errors.ImageTruncated("x"), 400, "INVALID_ARGUMENT"),
        (errors.GalleryMismatch("x"), 409, "FAILED_PRECONDITION"),
        (errors.GalleryExists("x"), 409, "ALREADY_EXISTS"),
        (errors.Overloaded("x", retry_after_s=1), 429, "RESOURCE_EXHAUSTED"),
        (errors.Unavailable("x", retry_after_s=1), 503, "UNAVAILABLE"),
        (errors.DeadlineExceeded("x"), 504, "DEADLINE_EXCEEDED"),
        (errors.StorageError("x"), 507, "RESOURCE_EXHAUSTED"),
        (errors.ProviderUnavailable("x"), 500, "INTERNAL"),
    ],
)
def test_an_error_has_its_own_status_or_its_nearest_ancestors(
    error: errors.VireidError, http: int, rpc: str
) -> None:
    assert (status.http_status(error), status.grpc_status(error)) == (http, rpc)
