"""Items are removed by id or by filter, and whoever removes must say which."""

from collections.abc import Callable
from typing import Any

import pytest

from index.gallery import Gallery
from index.records import Enrolment
from vireid.arrays import Float32Array
from vireid.errors import InvalidRequest, ItemNotFound
from vireid.types import Filter

Make = Callable[..., Enrolment]
Vector = Callable[..., Float32Array]


def ids(gallery: Gallery) -> list[str]:
    return [item.item_id for item in gallery.items()[0]]


def test_removal_by_id(gallery: Gallery, enrolment: Make, vector: Vector) -> None:
    gallery.enroll([enrolment(f"i{n}") for n in range(4)] + [enrolment("bare", image=None)])
    dry = gallery.remove(ids=["i1", "bare", "unknown", "i1"], dry_run=True)
    assert (dry.items, dry.images, dry.vectors, dry.version) == (2, 1, 2, 1)
    assert gallery.info().items == 5
    receipt = gallery.remove(ids=["i1", "bare", "unknown", "i1"])
    assert (receipt.items, receipt.images, receipt.vectors, receipt.version) == (2, 1, 2, 2)
    assert ids(gallery) == ["i0", "i2", "i3"]
    assert "i1" not in [hit.item.item_id for hit in gallery.search(vector("i1")[None], 9)[0].hits]
    for ask in (gallery.item, gallery.vector, gallery.image, gallery.thumbnail):
        with pytest.raises(ItemNotFound) as caught:
            ask("i1")
        assert caught.value.metadata == {"item": "i1"}
    again = gallery.remove(ids=["i1"])
    assert (again.items, again.version) == (0, 2)
    assert gallery.enroll([enrolment("i1")]) == ["created"]


def test_removal_by_filter(gallery: Gallery, enrolment: Make) -> None:
    gallery.enroll([enrolment(f"i{n}", camera=str(n % 3)) for n in range(9)])
    assert gallery.remove(filter=Filter(cameras=("1",))).items == 3
    assert ids(gallery) == ["i0", "i2", "i3", "i5", "i6", "i8"]


@pytest.mark.parametrize(
    "chosen",
    [{}, {"ids": []}, {"filter": Filter()}, {"ids": ["a"], "filter": Filter(cameras=("1",))}],
    ids=str,
)
def test_removal_must_say_what(gallery: Gallery, enrolment: Make, chosen: dict[str, Any]) -> None:
    gallery.enroll([enrolment("a")])
    with pytest.raises(InvalidRequest):
        gallery.remove(**chosen)
    assert ids(gallery) == ["a"]
