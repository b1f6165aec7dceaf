import pytest

from clients import failures
from vireid import errors
from vireid.errors import (
    GalleryMismatch,
    InvalidRequest,
    NotAnImage,
    Overloaded,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
    VireidError,
)


def _classes(root: type[VireidError]) -> list[type[VireidError]]:
    return [root] + [kind for branch in root.__subclasses__() for kind in _classes(branch)]


PUBLIC = [kind for kind in _classes(VireidError) if not kind.__name__.startswith("_")]


def test_every_reason_names_one_class() -> None:
    reasons = [kind.reason for kind in PUBLIC]
    assert len(set(reasons)) == len(reasons)
    assert set(failures.by_reason()) == set(reasons)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_a_reason_comes_back_as_its_class(kind: type[VireidError]) -> None:
    error = failures.rebuild("what happened", reason=kind.reason, otherwise=VireidError, metadata={"a": "b"})
    assert type(error) is kind
    how = f"; {failures.HOW_TO_SEND_A_KEY}" if issubclass(kind, Unauthenticated) else ""
    assert (error.message, error.stable_reason) == ("what happened" + how, kind.reason)
    assert error.metadata == {"a": "b"}


def test_a_finer_reason_falls_back_to_the_status() -> None:
    error = failures.rebuild(
        "top_k is 0", reason="TOP_K_TOO_SMALL", field="top_k", otherwise=failures.of_http_status(422)
    )
    assert type(error) is InvalidRequest
    assert error.stable_reason == "TOP_K_TOO_SMALL"
    assert error.field == "top_k"


@pytest.mark.parametrize("kind", [Overloaded, Unavailable])
def test_the_time_to_wait_comes_along(kind: type[VireidError]) -> None:
    told = failures.rebuild("busy", reason=kind.reason, otherwise=VireidError, retry_after_s=2.5)
    assert isinstance(told, Overloaded | Unavailable)
    assert told.retry_after_s == 2.5
    silent = failures.rebuild("busy", reason=kind.reason, otherwise=VireidError)
    assert isinstance(silent, Overloaded | Unavailable)
    assert silent.retry_after_s == failures.DEFAULT_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("grpc_status", "http_status", "kind"),
    [
        ("INVALID_ARGUMENT", 422, InvalidRequest),
        ("NOT_FOUND", 404, errors.NotFound),
        ("UNAUTHENTICATED", 401, errors.Unauthenticated),
        ("RESOURCE_EXHAUSTED", 429, Overloaded),
        ("DEADLINE_EXCEEDED", 504, errors.DeadlineExceeded),
        ("INTERNAL", 500, VireidError),
    ],
)
def test_both_wires_read_a_bare_status_alike(
    grpc_status: str, http_status: int, kind: type[VireidError]
) -> None:
    assert failures.of_grpc_status(grpc_status) is kind
    assert failures.of_http_status(http_status) is kind


def test_unlike_errors_do_not_collapse() -> None:
    a = failures.rebuild("m", reason="NOT_AN_IMAGE", otherwise=InvalidRequest)
    b = failures.rebuild("m", reason="SPACE_MISMATCH", otherwise=InvalidRequest)
    assert type(a) is NotAnImage
    assert type(b) is GalleryMismatch
    assert not isinstance(b, ServerUnreachable)
