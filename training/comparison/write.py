"""Writes a comparison in the forms that are asked for."""

from collections.abc import Mapping
from pathlib import Path

from training.comparison.content import Content


def write(
    content: Content, page: Path | None, json_file: Path | None, table: Path | None
) -> Mapping[str, Path]:
    """Write a comparison; the same runs give the same bytes.

    Args:
        content: what is compared.
        page: an HTML file, None for none.
        json_file: every number.
        table: all columns as Markdown.

    Returns:
        What was written, by form.

    Raises:
        OSError: a file cannot be written.
    """
    from training.comparison import document
    from training.comparison import page as pages
    from training.comparison import table as tables

    made = {
        "page": (page, pages.html),
        "json": (json_file, document.to_json),
        "table": (table, tables.markdown),
    }
    written = {}
    for form, (path, make) in made.items():
        if path is not None:
            text = make(content)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            written[form] = path
    return written
