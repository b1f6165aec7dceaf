"""Both tables of statuses, against the whole tree of errors."""

import inspect
from http import HTTPStatus

import grpc
import pytest

from server import status
from vireid import errors
from vireid.errors import VireidError

TREE = sorted(
    (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, VireidError)),
    key=lambda kind: kind.__name__,
)
PUBLIC = [kind for kind in TREE if not kind.__name__.startswith("_")]
RETRYABLE = (errors.Overloaded, errors.Unavailable)
CLIENT_CLOSED = 499
# what a caller sees of each class; written down here so that no later change of a table goes unseen
EXPECTED = {
    "InvalidRequest": (422, "INVALID_ARGUMENT"),
    "EmbeddingNotFinite": (422, "INVALID_ARGUMENT"),
    "NotAnImage": (415, "INVALID_ARGUMENT"),
    "FormatNotAllowed": (415, "INVALID_ARGUMENT"),
    "ImageTruncated": (400, "INVALID_ARGUMENT"),
    "TooManyPixels": (413, "INVALID_ARGUMENT"),
    "ArchiveError": (422, "INVALID_ARGUMENT"),
    "GalleryNotFound": (404, "NOT_FOUND"),
    "ItemNotFound": (404, "NOT_FOUND"),
    "ImageNotStored": (404, "NOT_FOUND"),
    "JobNotFound": (404, "NOT_FOUND"),
    "GalleryExists": (409, "ALREADY_EXISTS"),
    "GalleryMismatch": (409, "FAILED_PRECONDITION"),
    "Unauthenticated": (401, "UNAUTHENTICATED"),
    "Overloaded": (429, "RESOURCE_EXHAUSTED"),
    "DeadlineExceeded": (504, "DEADLINE_EXCEEDED"),
    "Cancelled": (499, "CANCELLED"),
    "Unavailable": (503, "UNAVAILABLE"),
    "StorageError": (507, "RESOURCE_EXHAUSTED"),
    "DataLoss": (500, "DATA_LOSS"),
    "ProviderUnavailable": (500, "INTERNAL"),
    "BundleCorrupt": (500, "INTERNAL"),
}


def make(kind: type[VireidError]) -> VireidError:
    return kind("m", retry_after_s=1.0) if issubclass(kind, RETRYABLE) else kind("m")


def test_the_tree_was_found() -> None:
    assert len(PUBLIC) > 35
    assert set(EXPECTED) <= {kind.__name__ for kind in PUBLIC}


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_error_has_a_chosen_status_in_both_tables(kind: type[VireidError]) -> None:
    """Only the root itself may fall through to the root: every branch below it is decided on purpose."""
    for table in (status.HTTP, status.GRPC):
        nearest = next(one for one in kind.__mro__ if one in table)
        assert nearest is not VireidError or kind is VireidError
    http, name = status.http_status(make(kind)), status.grpc_status(make(kind))
    assert http == CLIENT_CLOSED or http in {one.value for one in HTTPStatus}
    assert http >= 400
    assert hasattr(grpc.StatusCode, name)
    assert name not in {"OK", "UNKNOWN"}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_callers_rely_on(name: str) -> None:
    error = make(getattr(errors, name))
    assert (status.http_status(error), status.grpc_status(error)) == EXPECTED[name]


def test_reasons_are_stable_words() -> None:
    for kind in PUBLIC:
        assert make(kind).stable_reason == kind.reason
        assert kind.reason.replace("_", "").isalpha()
        assert kind.reason.isupper()


def test_no_two_classes_share_a_reason() -> None:
    reasons = [kind.reason for kind in PUBLIC]
    assert len(set(reasons)) == len(reasons)


def test_a_class_of_tomorrow_takes_its_ancestors_status() -> None:
    class FolderNotFound(errors.NotFound):
        reason = "FOLDER_NOT_FOUND"

    assert (status.http_status(FolderNotFound("m")), status.grpc_status(FolderNotFound("m"))) == (
        404,
        "NOT_FOUND",
    )
