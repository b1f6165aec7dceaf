import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import http_calls, rpc_calls
from clients.call import Wire
from clients.retry import NEVER, Retry
from vireid.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    ServerUnreachable,
    Unavailable,
    VireidError,
)
from vireid.types import Filter

STEADY = Retry(attempts=5, first_wait_s=0.1, longest_wait_s=10.0, draw=lambda: 1.0)


@pytest.mark.parametrize("error", [InvalidRequest("no"), DeadlineExceeded("late"), VireidError("broken")])
def test_final_errors_are_final(error: VireidError) -> None:
    assert STEADY.wait_s(1, error, repeatable=True) is None


@pytest.mark.parametrize("kind", [Overloaded, Unavailable])
def test_the_server_time_is_honoured(kind: type[Overloaded] | type[Unavailable]) -> None:
    wait = Retry(draw=lambda: 0.0).wait_s(1, kind("busy", retry_after_s=3.0), repeatable=False)
    assert wait == 3.0


def test_jitter_never_returns_before_the_server_time() -> None:
    for drawn in (0.0, 0.3, 0.999):
        wait = Retry(draw=lambda drawn=drawn: drawn).wait_s(
            1, Overloaded("busy", retry_after_s=2.0), repeatable=True
        )
        assert wait is not None
        assert 2.0 <= wait <= 2.5


def test_a_server_that_asks_for_too_much_is_left() -> None:
    assert STEADY.wait_s(1, Overloaded("busy", retry_after_s=60.0), repeatable=True) is None


def test_a_lost_connection_is_only_repeated_where_it_does_no_harm() -> None:
    lost = ServerUnreachable("gone")
    assert STEADY.wait_s(1, lost, repeatable=True) is not None
    assert STEADY.wait_s(1, lost, repeatable=False) is None


def test_pauses_double_until_the_attempts_are_used_up() -> None:
    lost = ServerUnreachable("gone")
    waits = [STEADY.wait_s(failed, lost, repeatable=True) for failed in (1, 2, 3, 4)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert STEADY.wait_s(5, lost, repeatable=True) is None
    assert NEVER.wait_s(1, lost, repeatable=True) is None


@given(st.integers(1, 40), st.floats(0, 20), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_the_cap(failed: int, asked_s: float, drawn: float) -> None:
    retry = Retry(attempts=50, draw=lambda: drawn)
    wait = retry.wait_s(failed, Overloaded("busy", retry_after_s=asked_s), repeatable=True)
    if asked_s > retry.longest_wait_s:
        assert wait is None
    else:
        assert wait is not None
        assert min(asked_s, retry.longest_wait_s) <= wait <= retry.longest_wait_s


@pytest.mark.parametrize("calls", [http_calls, rpc_calls])
def test_a_removal_is_not_made_twice(calls: Wire) -> None:
    """The receipt of the second would say that nothing was there."""
    chosen = {"item_ids": ("a",), "where": Filter()}
    assert not calls.delete_items("yard", **chosen, dry_run=False).repeatable
    assert calls.delete_items("yard", **chosen, dry_run=True).repeatable
    assert not calls.delete_gallery("yard").repeatable
