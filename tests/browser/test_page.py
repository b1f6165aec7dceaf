"""The page as an analyst uses it, in a real browser over the running demo."""

import json
import re
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.page_parts import Demo, drop, people, searched

pytestmark = pytest.mark.browser


def test_a_dropped_night_crop_finds_its_person_by_day(page: Page, demo: Demo) -> None:
    found = 0
    queries = sorted(demo.queries.glob("*.jpg"))
    for query in queries:
        page.evaluate("document.querySelector('#grid').replaceChildren()")
        drop(page, query)
        searched(page)
        assert "infrared" in page.inner_text("#seen")
        assert set(
            page.eval_on_selector_all("#grid .modality", "all => all.map((one) => one.textContent)")
        ) == {"visible"}
        found += query.name.split("-")[0] in people(page)[:8]
    # 8 of 96 visible crops, 8 of each person: by chance about half of the queries would see their person
    assert found >= 0.75 * len(queries), f"{found} of {len(queries)}"


def test_a_click_on_a_night_crop_of_the_gallery_searches(page: Page) -> None:
    buttons = page.locator("#strip button").all()
    found = 0
    for button in buttons:
        page.evaluate("document.querySelector('#grid').replaceChildren()")
        button.click()
        searched(page)
        found += button.get_attribute("data-person") in people(page)[:8]
    assert found >= 0.75 * len(buttons), f"{found} of {len(buttons)}"
    assert page.locator("#preview").is_visible()


def test_filters_and_override_change_the_answer(page: Page, demo: Demo) -> None:
    drop(page, min(demo.queries.glob("*.jpg")))
    searched(page)
    page.locator("#cameras label", has_text="camera 4").click()
    page.wait_for_function("() => document.querySelector('#title').textContent.includes('of 24')")
    assert all("camera 4" in text for text in page.locator("#grid .card").all_inner_texts())
    page.locator("#modality label", has_text="Visible").click()
    page.wait_for_function("() => document.querySelector('#seen').textContent.includes('visible')")
    assert "looks infrared" in page.inner_text("#message")


def test_hits_are_compared_side_by_side(page: Page, demo: Demo) -> None:
    drop(page, min(demo.queries.glob("*.jpg")))
    searched(page)
    page.locator("#grid .card button").first.click()
    assert page.inner_text("#compare-caption").startswith("Rank 1 ")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#compare-caption").startswith("Rank 2 ")
    assert page.eval_on_selector("#compare-hit", "image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_status_line_opens_what_runs_and_why(page: Page) -> None:
    status = page.locator("#status")
    assert "cpu" in status.inner_text()
    status.click()
    told = page.inner_text("#about")
    assert "onnxruntime-fp32, proven" in told
    assert "the only engine" in told
    page.click("#about-close")
    assert page.locator("#about").is_hidden()


def test_what_is_no_image_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    wrong = tmp_path / "note.jpg"
    wrong.write_bytes(b"no image at all")
    drop(page, wrong)
    page.wait_for_selector("#message:not([hidden])")
    assert "NOT_AN_IMAGE" in page.inner_text("#message")


def test_a_failed_query_says_nothing_of_the_one_before(page: Page, demo: Demo, tmp_path: Path) -> None:
    drop(page, min(demo.queries.glob("*.jpg")))
    searched(page)
    assert page.inner_text("#seen")
    wrong = tmp_path / "note.jpg"
    wrong.write_bytes(b"no image at all")
    drop(page, wrong)
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#seen") == ""


def test_a_key_is_asked_for_until_the_server_takes_it(browser: Browser, demo: Demo) -> None:
    """The server's part is played by the network: whoever has no key, or a wrong one, is refused."""
    page = browser.new_page()

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            body = {"title": "Unauthenticated", "detail": "an API key is needed", "reason": "UNAUTHENTICATED"}
            route.fulfill(status=401, json=body)

    page.route("**/v1/**", guard)
    page.goto(demo.address)
    page.wait_for_selector("#key[open]")
    assert page.is_hidden("#key-refused")
    page.fill("#key-value", "wrong")
    page.click("#key button")
    page.wait_for_selector("#key[open] #key-refused:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector("#message:not([hidden])")
    assert "an API key is needed" in page.inner_text("#message")
    page.reload()
    page.wait_for_selector("#key[open]")
    page.fill("#key-value", "right")
    page.click("#key button")
    page.wait_for_selector("#strip img")
    page.close()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "kept until they are removed"),
        (30 * 86400, "removed 30 days after"),
        (86400, "removed 1 day after"),
        (36 * 3600, "removed 36 hours after"),
        (90, "removed 90 seconds after"),
    ],
)
def test_a_gallery_says_how_long_it_keeps_and_what_it_lacks(
    browser: Browser, demo: Demo, seconds: int, told: str
) -> None:
    """What the server tells of its galleries is changed on the way."""
    page = browser.new_page()

    def changed(route: Route) -> None:
        listed = route.fetch().json()
        (whole,) = listed["galleries"]
        damaged = whole | {"name": "damaged", "lost": 1234, "retention_s": seconds}
        failed = whole | {"name": "failed", "state": "failed", "detail": "a record is damaged"}
        route.fulfill(json={"galleries": [whole, damaged, failed]})

    page.route("**/v1/galleries", changed)
    page.route(
        "**/v1/galleries/damaged/**",
        lambda route: route.continue_(url=route.request.url.replace("damaged", "demo")),
    )
    page.goto(demo.address)
    page.wait_for_selector("#strip img")
    assert page.is_hidden("#gallery-lost")
    assert "images · kept until they are removed" in page.inner_text("#gallery-facts")
    names = page.eval_on_selector_all(
        "#gallery option", "all => all.map((one) => [one.textContent, one.disabled])"
    )
    assert names[2] == ["failed (failed)", True]
    page.select_option("#gallery", "damaged")
    page.wait_for_selector("#gallery-lost:not([hidden])")
    assert "1,234 images of this gallery could not be saved" in page.inner_text("#gallery-lost")
    assert told in page.inner_text("#gallery-facts")
    drop(page, min(demo.queries.glob("*.jpg")))
    searched(page)
    assert page.is_visible("#gallery-lost")
    page.close()


def test_the_status_line_tells_of_an_engine_that_is_built(browser: Browser, demo: Demo) -> None:
    page = browser.new_page()
    build = {
        "engine": "tensorrt-fp16",
        "stage": "building",
        "done": 0.25,
        "seconds": 9.0,
        "reason": "no plan is here",
    }
    states = iter(
        ["building_engine", "building_engine", "build_failed"]
    )  # when the page opens, and at each look

    def changed(route: Route) -> None:
        info = route.fetch().json()
        info["engine"]["building"] = build | {"state": next(states)}
        route.fulfill(json=info)

    page.route("**/v1/info", changed)
    page.goto(demo.address)
    for words in (
        "Being built\ntensorrt-fp16: building, 25 % of it done; no plan is here",
        "Build failed\ntensorrt-fp16: no plan",
    ):
        page.click("#status")
        page.wait_for_selector("#about[open]")
        assert words in re.sub(r"\s*\n\s*", "\n", page.inner_text("#about"))
        page.click("#about-close")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_whole_page(browser: Browser, demo: Demo, scheme: Literal["light", "dark"]) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(demo.address)
    page.wait_for_selector("#strip img")
    drop(page, min(demo.queries.glob("*.jpg")))
    searched(page)
    for judge in ("same", "other", "other"):
        page.locator(f"#grid .judge .{judge}[aria-pressed=false]").first.click()
    drop(page, *sorted(demo.queries.glob("*.jpg"))[:3], on="#add")
    searched(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "cpu" in page.locator("#status").inner_text()
    page.evaluate("scrollTo(0, 0)")
    drop(page, Path(__file__), on="#add")  # what is refused beside others is told where it is seen
    page.wait_for_selector("#message:not([hidden])")
    page.wait_for_function(
        "() => document.getElementById('message').getBoundingClientRect().top < innerHeight"
    )
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in re.findall(r"\d+", paper)[:3]) > 3 * 128
    assert light == (scheme == "light")
    context.close()


def test_on_a_phone_the_answer_comes_into_view(browser: Browser, demo: Demo) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 740}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(demo.address)
    page.wait_for_selector("#strip img")
    assert page.evaluate("scrollY") == 0
    for query in sorted(demo.queries.glob("*.jpg"))[:2]:
        drop(page, query)
        searched(page)
        page.wait_for_function("() => scrollY > 0")
        assert page.evaluate("document.querySelector('#title').getBoundingClientRect().top") < 100
        page.evaluate("scrollTo(0, 0)")
    page.click("#cameras label >> nth=0")  # who is at the filters stays there
    searched(page)
    assert page.evaluate("scrollY") < 100
    context.close()


def test_an_upload_shows_progress_and_lists_what_was_refused(page: Page, demo: Demo, tmp_path: Path) -> None:
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.write(min(demo.queries.glob("*.jpg")), "more/night.jpg")
        out.writestr("more/broken.jpg", b"\xff\xd8\xff broken")
    page.click("#open-upload")
    page.set_input_files("#upload-files", archive)
    page.click("#upload-start")
    page.wait_for_function("() => document.querySelector('#upload-state').textContent.includes('partial')")
    assert "1 created" in page.inner_text("#upload-state")
    assert "broken.jpg" in page.inner_text("#upload-errors")


def test_the_printed_lines_return_hits(demo: Demo) -> None:
    by_http = subprocess.run(shlex.split(demo.curl), capture_output=True, check=True, timeout=20)
    assert len(json.loads(by_http.stdout)["hits"]) == 5
    words = shlex.split(demo.query)
    words[0] = str(Path(sys.executable).parent / "vireid")
    began = time.monotonic()
    by_grpc = subprocess.run([*words, "--json"], capture_output=True, check=True, timeout=60)
    assert len(json.loads(by_grpc.stdout)["hits"]) == 10, time.monotonic() - began
