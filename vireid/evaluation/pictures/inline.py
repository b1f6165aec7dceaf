"""A picture as a part of an HTML page: ids of its own, and the page's colours, so that it follows light and dark."""

import re
from html import escape

from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.style import Figure

# colour of a picture -> the page's name for it
COLOURS = {
    style.INK: "--ink",
    style.FAINT: "--dim",
    style.GRID: "--line",
    style.PAPER: "--panel",
    style.FIRST: "--first",
    style.SECOND: "--second",
}
_IDS = re.compile(r'(\bid="|href="#|url\(#)')


def inline(picture: Figure, name: str, says: str) -> str:
    """Return a figure as an SVG element.

    Args:
        picture: without foreign words in it.
        name: put in front of its ids, so that pictures of one page do not share any.
        says: what it shows, for those who cannot see it.
    """
    found = style.svg(picture)
    found = found[found.index("<svg") :]
    found = re.sub(r"\s*<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r"\1", found, count=1)
    found = _IDS.sub(rf"\g<1>{name}-", found)
    for colour, variable in COLOURS.items():
        found = found.replace(colour, f"var({variable})")
    return found.replace("<svg", f'<svg role="img" aria-label="{escape(says)}"', 1).strip()
