"""The progress of a run on the screen."""

import io

import pytest

from training import display
from training.display import Display, clock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test turns."""
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_epoch_loss_rate_and_the_time_left_of_the_whole_run(ticking: list[float]) -> None:
    out = io.StringIO()
    shown = Display(5, (1, 5), out)
    with shown.epoch(1, 4) as tell:
        for loss in (4.0, 2.0, 2.0, 0.0):
            ticking[0] += 3
            tell(loss, 30)
    lines = out.getvalue().splitlines()
    # a line every five seconds at most, one at the end; after 6 s of half an epoch three and a half are left
    assert lines == [
        "epoch 2/5: 2/4, loss 3, 10.0 images/s, 42 s left",
        "epoch 2/5: 4/4, loss 2, 10.0 images/s, 36 s left",
    ]


def test_time_between_epochs_counts_too(ticking: list[float]) -> None:
    out = io.StringIO()
    shown = Display(2, (0, 2), out)
    ticking[0] += 90  # labels were made
    with shown.epoch(0, 1) as tell:
        ticking[0] += 10
        tell(1.0, 10)
    assert out.getvalue().endswith("1.0 images/s, 1 min 40 s left\n")


def test_a_terminal_has_a_bar() -> None:
    out = Terminal()
    with Display(3, (0, 3), out).epoch(0, 2) as tell:
        tell(1.5, 8)
        tell(0.5, 8)
    assert "epoch 1/3" in out.getvalue()
    assert "2/2" in out.getvalue()
    assert "loss 1," in out.getvalue()


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_processes_beside_the_first_show_nothing(out: io.StringIO) -> None:
    with Display(1, (0, 1), out, silent=True).epoch(0, 1) as tell:
        tell(1.0, 1)
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_line_of_an_epochs_own() -> None:
    out, other = io.StringIO(), io.StringIO()
    Display(5, (0, 5), out).say(1, "labels: 40 classes")
    Display(5, (0, 5), other, silent=True).say(1, "labels: 40 classes")
    assert out.getvalue() == "epoch 2/5: labels: 40 classes\n"
    assert other.getvalue() == ""
