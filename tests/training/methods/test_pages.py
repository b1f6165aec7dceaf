"""Every method has its page: named in the index, with a picture, its switches, and recipes that exist."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training.method_settings import SETTINGS
from training.methods import METHODS
from training.settings import recipes


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_a_page_and_a_picture(method: str, repository: Path) -> None:
    folder = repository / "docs" / "methods"
    page = (folder / f"{method}.md").read_text()
    assert f"](methods/{method}.md)" in (folder.parent / "methods.md").read_text()
    assert f"]({method}.svg)" in page
    drawn = ElementTree.fromstring((folder / f"{method}.svg").read_text())
    assert drawn.attrib["aria-label"]
    assert "viewBox" in drawn.attrib
    named = set(re.findall(r"--recipe ([\w-]+)", page))
    assert any(name.startswith("sysu-mm01-") for name in named)
    assert any(name.startswith("synthetic-") for name in named)
    assert named <= set(recipes())


@pytest.mark.parametrize("method", SETTINGS)
def test_a_page_tells_of_every_habit_of_published_code(method: str, repository: Path) -> None:
    page = (repository / "docs" / "methods" / f"{method}.md").read_text()
    compat = SETTINGS[method].model_fields.get("compat")
    habits = [] if compat is None else list(type(compat.default).model_fields)
    assert [name for name in habits if f"compat.{name}" not in page] == []


def test_links_between_pages_lead_somewhere(repository: Path) -> None:
    pages = [*(repository / "docs").rglob("*.md"), repository / "README.md"]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
