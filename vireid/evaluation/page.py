"""HTML pages that need nothing else: templates of a package, the look and the parts all reports share.

Needs the extra ``evaluation``: importing this module without it raises ``MissingExtra``. Knows no report.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from vireid.errors import MissingExtra
from vireid.evaluation.pictures.inline import inline
from vireid.evaluation.pictures.style import Figure

try:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup
except ModuleNotFoundError as error:
    raise MissingExtra("the HTML report needs jinja2; run: pip install 'vireid[evaluation]'") from error

SHARED = "vireid.evaluation"


def render(template: str, parts: Mapping[str, Any], *packages: str) -> str:
    """Fill in a template; values become text, never markup.

    Args:
        template: its file.
        parts: its values by name; one it asks for and does not get is an error.
        packages: where it and what it includes are looked for, in this order, and then here.
    """

    def source(name: str) -> str | None:
        for place in dict.fromkeys((*packages, SHARED)):
            file = resources.files(place).joinpath(name)
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return None

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(parts)


def picture(drawn: Figure, name: str, says: str) -> Markup:
    """Return a figure as an element of the page.

    Args:
        drawn: without foreign words in it.
        name: no other picture of the page has it.
        says: what it shows, for those who cannot see it.
    """
    return Markup(inline(drawn, name, says))  # noqa: S704 - drawn here, without foreign words
