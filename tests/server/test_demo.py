"""The demo's folder: drawn once, gone on with, and nobody else's data touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from server import demo_command
from server.answers import ImageQuery
from vireid.errors import SettingsError
from vireid.types import Filter, ItemMeta, Modality


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "galleries").mkdir()
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="something else than a demo"):
        demo_command._crops(tmp_path, 2, 1)
    assert (tmp_path / "crops" / "mine.jpg").read_bytes() == b"mine"


def test_another_drawing_leaves_the_galleries(tmp_path: Path) -> None:
    (tmp_path / demo_command.MARKER).write_text(json.dumps({"people": 99}))
    kept = tmp_path / "galleries" / "space" / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"x")
    crops = demo_command._crops(tmp_path, 2, 1)
    assert kept.read_bytes() == b"x"
    assert {crop.meta.person for crop in crops} == {"P001", "P002"}
    again = demo_command._crops(tmp_path, 2, 1)
    assert [(one.item_id, one.data) for one in again] == [(one.item_id, one.data) for one in crops]


async def test_crops_of_an_earlier_drawing_go_and_what_somebody_added_stays(make: Any, draw: Any) -> None:
    service = make().service
    await service.create_gallery("demo")
    for item_id in ("mine", "P001-day-camera1-0", "P009-night-camera3-1"):
        await service.put_item("demo", item_id, ImageQuery(draw(1), Modality.VISIBLE), ItemMeta())
    await demo_command._forget_others(service, {"P001-day-camera1-0"})
    items, _ = await service.list_items("demo", Filter(), 100, "")
    assert sorted(item.item_id for item in items) == ["P001-day-camera1-0", "mine"]
