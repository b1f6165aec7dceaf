"""A gallery that was salvaged says over both wires what it lacks, until somebody lets the damaged file go."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.replies import ItemRef
from index import lost
from index.disk import FILE
from index.salvage import salvage
from tests.clients.conftest import KINDS
from vireid.errors import DataLoss
from vireid.types import Filter


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lost_is_told(
    kind: str, start: Callable[..., Any], tmp_path: Path, draw: Callable[..., bytes]
) -> None:
    with start() as live:
        caller = live.connect(kind)
        caller("create_gallery", "yard")
        caller("create_gallery", "whole")
        for number in range(4):
            caller("put_item", "yard", f"i{number}", draw(number))
        whole = caller("search", "yard", ItemRef("i0"))
        assert (whole.degraded, whole.items_lost, caller("get_gallery", "yard").lost) == (False, 0, 0)
        caller.close()
    folder = tmp_path / "data" / "galleries" / "yard"
    db = sqlite3.connect(folder / FILE)
    db.execute("UPDATE items SET person = 'x' WHERE item_id = 'i2'")
    db.commit()
    db.close()
    with start() as live:
        caller = live.connect(kind)
        assert caller("get_gallery", "yard").state == "failed"
        with pytest.raises(DataLoss):
            caller("search", "yard", ItemRef("i0"))
        caller.close()
    assert salvage(folder) is not None
    with start() as live:
        caller = live.connect(kind)
        assert {info.name: (info.state, info.lost) for info in caller("list_galleries")} == {
            "yard": ("ready", 1),
            "whole": ("ready", 0),
        }
        found = caller("search", "yard", ItemRef("i0"), where=Filter(exclude_items=("i1",)))
        assert (found.degraded, found.items_lost, found.exact) == (True, 1, True)
        assert (found.items_total, found.items_searched) == (3, 2)
        assert found.hits[0].item.item_id == "i0"
        caller.close()
    lost.forget(folder)
    with start() as live:
        caller = live.connect(kind)
        assert not caller("search", "yard", ItemRef("i0")).degraded
        caller.close()
