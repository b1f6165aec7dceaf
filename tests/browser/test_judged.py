"""Several images as one person, and hits that were judged, on the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.page_parts import Demo, asked, drop, items, searched

pytestmark = pytest.mark.browser


def test_several_images_are_asked_with_as_one_person(page: Page, demo: Demo) -> None:
    one, other = (min(demo.queries.glob(f"{person}-*.jpg")) for person in ("P002", "P005"))
    alone = asked(page, lambda: drop(page, one))
    assert alone["asked"]["together"] is None
    assert page.is_hidden("#together")

    both = asked(page, lambda: drop(page, other, on="#add"))
    assert page.inner_text("#seen") == "2 images of one person, all infrared"
    assert len(both["asked"]["together"]["queries"]) == 1
    assert both["asked"]["query"] == alone["asked"]["query"]
    assert (
        [hit["item_id"] for hit in both["hits"]] == items(page) != [hit["item_id"] for hit in alone["hits"]]
    )

    best = asked(page, lambda: page.click("#together label:has-text('Best image')"))
    assert best["asked"]["together"]["by"] == "best"
    assert best["hits"][0]["score"] >= alone["hits"][0]["score"]  # the first image alone is one of both
    assert max(hit["score"] for hit in both["hits"]) != best["hits"][0]["score"]

    again = asked(page, lambda: page.click("#pictures button >> nth=1"))
    assert [hit["item_id"] for hit in again["hits"]] == [hit["item_id"] for hit in alone["hits"]]
    assert page.locator("#pictures button").count() == 0
    assert page.is_hidden("#together")


def test_several_files_are_chosen_at_once_or_one_by_one(page: Page, demo: Demo) -> None:
    first, second, third = sorted(demo.queries.glob("*.jpg"))[:3]

    def choose(*files: Path, by: str) -> None:
        with page.expect_file_chooser() as caught:
            page.click(by)
        caught.value.set_files(files)

    assert len(asked(page, lambda: choose(first, second, by="#drop"))["asked"]["together"]["queries"]) == 1
    assert len(asked(page, lambda: choose(third, by="#add"))["asked"]["together"]["queries"]) == 2
    assert asked(page, lambda: choose(third, by="#drop"))["asked"]["together"] is None


def test_of_several_images_the_one_that_is_none_is_named(page: Page, demo: Demo, tmp_path: Path) -> None:
    wrong = tmp_path / "note.jpg"
    wrong.write_bytes(b"no image at all")
    drop(page, min(demo.queries.glob("*.jpg")), wrong)
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#message").startswith("note.jpg: ")
    page.click("#pictures button[title='Leave out note.jpg']")
    searched(page)
    assert page.is_hidden("#message")


def test_hits_that_were_judged_steer_the_next_search(page: Page, demo: Demo) -> None:
    before = asked(page, lambda: drop(page, min(demo.queries.glob("*.jpg"))))
    assert (before["asked"]["more_like"], before["asked"]["less_like"]) == ([], [])
    assert page.is_hidden("#marks")
    liked, disliked, taken_back = items(page)[3], items(page)[0], items(page)[1]
    judge = "#grid .card[data-item='{}'] .judge .{}"
    page.click(judge.format(liked, "other"))
    page.click(judge.format(liked, "same"))  # the later one counts
    page.click(judge.format(disliked, "other"))
    page.click(judge.format(taken_back, "same"))
    page.click(judge.format(taken_back, "same"))
    assert page.inner_text("#marks-told") == "Marked: 1 this person, 1 not this person"
    pressed = page.locator("#grid .judge [aria-pressed=true]")
    assert [one.get_attribute("aria-label") for one in pressed.all()] == [
        f"Not this person: {disliked}",
        f"This person: {liked}",
    ]

    after = asked(page, lambda: page.click("#again"))
    assert (after["asked"]["more_like"], after["asked"]["less_like"]) == ([liked], [disliked])
    assert items(page)[0] == liked
    assert disliked not in items(page)
    assert page.inner_text("#marks-told") == "Found with 1 this person, 1 not this person"
    assert page.is_disabled("#again")

    page.click("#marked .other")  # who is no longer among the hits can be judged anew
    assert page.inner_text("#marks-told") == "Marked: 1 this person"
    assert asked(page, lambda: page.click("#again"))["asked"]["less_like"] == []
    assert disliked in items(page)
    forgotten = asked(page, lambda: page.click("#forget"))
    assert [hit["score"] for hit in forgotten["hits"]] == [hit["score"] for hit in before["hits"]]
    assert page.is_hidden("#marks")


def test_a_hit_is_judged_beside_the_query_and_another_query_forgets_it(page: Page, demo: Demo) -> None:
    first, second = sorted(demo.queries.glob("*.jpg"))[:2]
    asked(page, lambda: drop(page, first))
    page.locator("#grid .card button").first.click()
    page.click("#compare-same")
    assert page.get_attribute("#compare-same", "aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#compare-same", "aria-pressed") == "false"
    page.click("#compare-other")
    page.click("#compare-close")
    asked_again = asked(page, lambda: page.click("#again"))["asked"]
    assert (len(asked_again["more_like"]), len(asked_again["less_like"])) == (1, 1)
    beside = asked(page, lambda: drop(page, second, on="#add"))["asked"]
    assert len(beside["more_like"]) == 1  # still about the same person
    other = asked(page, lambda: drop(page, second))["asked"]
    assert (other["more_like"], other["less_like"]) == ([], [])
    assert page.is_hidden("#marks")
