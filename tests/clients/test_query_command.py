import json
from datetime import UTC, datetime

import pytest

from clients.options import modality_of
from clients.query_command import as_document, as_table
from clients.replies import SearchReply, Timing, Warned
from vireid.errors import SettingsError
from vireid.types import Hit, Item, ItemMeta, Modality

NOW = datetime(2026, 3, 1, 22, 15, tzinfo=UTC)
KNOWN = Item("visible/0007/c3_0001.jpg", Modality.VISIBLE, ItemMeta("0007", "3", NOW), "00", True, NOW)
BARE = Item("x", Modality.VISIBLE, ItemMeta(), "00", False, NOW)


def _reply(*hits: Hit, confidence: float = 1.0, warnings: tuple[Warned, ...] = ()) -> SearchReply:
    return SearchReply(hits, Modality.INFRARED, confidence, warnings, 120, 80, "s", 4, Timing(total_s=0.0123))


def test_probabilities_have_a_column_where_there_are_any() -> None:
    text = as_table(_reply(Hit(1, 0.87312, KNOWN, 0.64), Hit(2, -0.5, BARE)))
    header, first, second = text.splitlines()[-3:]
    assert header.split()[:3] == ["rank", "score", "likely"]
    assert first.split()[:3] == ["1", "0.8731", "64%"]
    assert second.split()[:3] == ["2", "-0.5000", "-"]


def test_a_wrong_modality_names_its_option() -> None:
    with pytest.raises(SettingsError, match=r"--find is 'vis'"):
        modality_of("vis", "--find")


def test_the_table_is_aligned_and_tells_what_matters() -> None:
    text = as_table(_reply(Hit(1, 0.87312, KNOWN), Hit(2, -0.5, BARE), confidence=0.97))
    lines = text.splitlines()
    assert lines[0] == "infrared query (97% sure), 2 hits from 80 of 120 items, 12.3 ms at the server"
    header, first, second = lines[-3:]
    assert first.split() == [
        "1", "0.8731", "0007", "3", "visible", "2026-03-01", "22:15:00Z", "visible/0007/c3_0001.jpg",
    ]  # fmt: skip
    assert second.split() == ["2", "-0.5000", "-", "-", "visible", "-", "x"]
    for column in ("score", "person", "modality", "item"):
        assert first[header.index(column) - 1] == " "


def test_one_is_not_many() -> None:
    reply = SearchReply((Hit(1, 0.5, BARE),), Modality.VISIBLE, 1.0, (), 1, 1, "s", 4, Timing())
    assert as_table(reply).startswith("visible query, 1 hit from 1 of 1 item, ")


def test_nothing_found_is_said() -> None:
    text = as_table(_reply(warnings=(Warned("MODALITY_MISMATCH", "it looks visible"),)))
    assert "no hit" in text
    assert "note: it looks visible [MODALITY_MISMATCH]" in text


def test_the_document_is_complete() -> None:
    document = json.loads(as_document(_reply(Hit(1, 0.5, KNOWN))))
    (hit,) = document["hits"]
    assert (hit["person"], hit["captured_at"], hit["modality"]) == (
        "0007",
        "2026-03-01T22:15:00+00:00",
        "visible",
    )
    assert document["timing"]["total_s"] == 0.0123
    assert document["items_searched"] == 80
