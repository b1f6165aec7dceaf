"""A running demo and the system's Chromium."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Demo:
    address: str
    queries: Path
    curl: str
    query: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """``vireid demo`` as a user starts it, with fewer people."""
    folder = tmp_path_factory.mktemp("demo")
    log = folder / "log.txt"
    command = [
        str(Path(sys.executable).parent / "vireid"),
        "demo",
        "--data",
        str(folder / "demo"),
        "--people",
        "12",
    ]
    with log.open("w") as out:
        process = subprocess.Popen([*command, "--http-port", "0", "--grpc-port", "0"], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 120
        while "Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        lines = log.read_text().splitlines()
        yield Demo(
            address=next(line for line in lines if line.startswith("http://127.0.0.1:")),
            queries=folder / "demo" / "queries",
            curl=next(line for line in lines if line.startswith("curl ")),
            query=next(line for line in lines if " query " in line),
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while it is open, an event loop runs in this thread and no other may."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """A fresh page on the demo; whatever it complains of fails the test."""
    opened = browser.new_page(viewport={"width": 1360, "height": 900})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    elsewhere: list[str] = []
    opened.on(
        "request",
        lambda r: elsewhere.append(r.url) if not r.url.startswith((demo.address, "blob:")) else None,
    )
    opened.goto(demo.address)
    opened.wait_for_selector("#strip img")
    yield opened
    opened.close()
    assert elsewhere == [], "the page must work offline"
    expected = [text for text in complaints if "status of 4" not in text]
    assert expected == []
