"""A table is whole lines in a pipe and fits a terminal."""

import sys

import pytest
from rich.table import Table

from vireid import tables

LONG = "word " * 40


def table() -> Table:
    made = Table(show_header=False, box=None, pad_edge=False)
    made.add_row("ok", "first", LONG)
    made.add_row("FAILS", "[2]", "short")
    return made


def test_a_pipe_gets_a_line_a_row_with_no_space_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(table())
    assert capsys.readouterr().out == f"ok     first  {LONG.rstrip()}\nFAILS  [2]    short\n"


def test_a_terminal_is_not_overrun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    tables.show(table())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 60
    tables.show(table(), whole=True)
    assert len(capsys.readouterr().out.splitlines()) == 2
