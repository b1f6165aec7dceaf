"""Logging of the server: one line a record, on standard error."""

import json
import logging
from collections.abc import Iterator

import pytest

from server import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_is_one_object_a_line_even_of_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", as_json=True)
    log = logging.getLogger("server.test")
    log.debug("not told")
    log.info("two\nlines by %s", "café")
    try:
        int("broken")
    except ValueError:
        log.exception("it failed")
    captured = capsys.readouterr()
    first, second = [json.loads(line) for line in captured.err.splitlines()]
    assert (first["level"], first["logger"], first["message"]) == (
        "info",
        "server.test",
        "two\nlines by café",
    )
    assert first["time"].endswith("+00:00")
    assert "ValueError: invalid literal" in second["exception"]
    assert captured.out == ""


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", as_json=False)
    logging.getLogger("server.test").info("not told")
    logging.getLogger("server.test").warning("told")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING server.test: told")
