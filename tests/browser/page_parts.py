"""What tests do on the page and read from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Page


class Demo(Protocol):
    """What the fixture gives."""

    address: str
    queries: Path
    curl: str
    query: str


def drop(page: Page, *files: Path, on: str = "#drop") -> None:
    """Drop files on the page, as a mouse does."""
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [bytes, name] of files) {
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            }
            return transfer;
        }""",
        [[list(file.read_bytes()), file.name] for file in files],
    )
    page.dispatch_event(on, "drop", {"dataTransfer": transfer})


def people(page: Page) -> list[str]:
    return page.eval_on_selector_all("#grid .card", "cards => cards.map((card) => card.dataset.person)")


def items(page: Page) -> list[str]:
    return page.eval_on_selector_all("#grid .card", "cards => cards.map((card) => card.dataset.item)")


def asked(page: Page, act: Callable[[], None]) -> dict[str, Any]:
    """Do something that searches; what the server was asked, and what it answered."""
    with page.expect_response(lambda response: response.url.endswith("/search")) as caught:
        act()
    searched(page)
    return {"asked": caught.value.request.post_data_json, **caught.value.json()}


def searched(page: Page) -> None:
    page.wait_for_selector("#grid .card")
    page.wait_for_function("() => !document.body.classList.contains('busy')")
