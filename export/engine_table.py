"""A bundle's engines as a table: file, size, and what was proven of each. Knows no runtime."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from vireid import tables
from vireid.bundle import SOURCE, Bundle

COLUMNS = ("engine", "file", "size", "proven", "cosine min", "mean", "mAP change", "page")


def show(bundle: Bundle) -> None:
    """Print a row of each engine, the model itself first."""
    tables.show(_table(bundle), whole=True)


def _table(bundle: Bundle) -> Table:
    made = Table(*COLUMNS, box=None, pad_edge=False, header_style="")
    model = bundle.manifest.model
    # what every bundle holds was proven when it was exported: a report without a verdict is of that time
    proven = "yes" if bundle.manifest.parity.get("passed", True) and bundle.manifest.parity else "no"
    made.add_row(*_row(bundle, SOURCE, model.file, proven, bundle.manifest.parity), "")
    for part in bundle.manifest.engines:
        proven = "yes" if part.proven else "failed" if part.parity else "not yet"
        name, file, *found = _row(bundle, part.name, part.file, proven, part.parity)
        until = f", fp32 until {part.fp32_until}" if part.fp32_until else ""
        made.add_row(name, file + until, *found, part.report)
    return made


def _row(bundle: Bundle, name: str, file: str, proven: str, parity: Mapping[str, Any]) -> tuple[str, ...]:
    found = parity.get("map")
    change = found.get("change_points") if isinstance(found, Mapping) else None
    return (
        name,
        file,
        f"{len(bundle.file(file)) / 1e6:.1f} MB",
        proven,
        _number(parity.get("cosine_min"), ".6f"),
        _number(parity.get("cosine_mean"), ".6f"),
        _number(change, "+z.2f"),
    )


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "-"
