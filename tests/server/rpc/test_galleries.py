"""Gallery and item calls on the wire."""

from typing import Any

from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Filter, ItemMeta, Modality


def _path(method: str) -> str:
    return f"/vireid.v1.GalleryService/{method}"


async def test_create_keeps_images_unless_told_not_to(serving: Any) -> None:
    async with serving() as running:
        create = running.method(_path("CreateGallery"), pb.CreateGalleryRequest, pb.Gallery)
        assert (await create(pb.CreateGalleryRequest(name="g"))).stores_images
        assert not (await create(pb.CreateGalleryRequest(name="g", store_images=False))).stores_images


async def test_a_failed_gallery_is_listed_with_its_reason(serving: Any) -> None:
    async with serving() as running:
        listed = running.method(_path("ListGalleries"), pb.ListGalleriesRequest, pb.ListGalleriesResponse)
        (gallery,) = (await listed(pb.ListGalleriesRequest())).galleries
    assert (gallery.state, gallery.state_detail) == (pb.Gallery.STATE_FAILED, "why")


async def test_put_carries_the_metadata(serving: Any) -> None:
    meta = ItemMeta(person="7", camera="1", attributes={"coat": "red"})
    async with serving() as running:
        put = running.method(_path("PutItem"), pb.PutItemRequest, pb.PutItemResponse)
        item = convert.proposed_item("a", Modality.INFRARED, meta)
        reply = await put(
            pb.PutItemRequest(gallery="g", item=item, image=pb.ImageInput(data=b"x")), timeout=5
        )
    ((gallery, item_id, query, put_meta, timeout_s, expires_at),) = running.service.asked
    assert (gallery, item_id, query.data, query.modality) == ("g", "a", b"x", Modality.INFRARED)
    assert put_meta == meta
    assert expires_at is None
    assert 0 < timeout_s < 5.5
    assert reply.outcome == pb.PutItemResponse.OUTCOME_CREATED
    assert convert.seconds_of(reply.timing.total) > 0


async def test_facets(serving: Any) -> None:
    async with serving() as running:
        ask = running.method(_path("GetFacets"), pb.GetFacetsRequest, pb.Facets)
        facets = await ask(pb.GetFacetsRequest(gallery="g", filter=pb.Filter(camera_ids=["c0"])))
    assert running.service.asked == [("g", Filter(cameras=("c0",)))]
    assert (dict(facets.cameras), dict(facets.hours)) == ({"c0": 3}, {"02": 1})
    assert dict(facets.modalities) == {"visible": 2, "infrared": 1}


async def test_get_and_list(serving: Any) -> None:
    async with serving() as running:
        get = running.method(_path("GetItem"), pb.GetItemRequest, pb.Item)
        item = convert.item_of(await get(pb.GetItemRequest(gallery="g", item_id="a")))
        listed = running.method(_path("ListItems"), pb.ListItemsRequest, pb.ListItemsResponse)
        page = await listed(
            pb.ListItemsRequest(
                gallery="g", filter=convert.filter_to(Filter(persons=("7",))), page_token="here"
            )
        )
    assert item.item_id == "a"
    assert running.service.asked[1] == ("g", Filter(persons=("7",)), 100, "here")
    assert page.next_page_token == "next"
    assert convert.item_of(page.items[0]) == item


async def test_delete_by_ids_or_by_filter(serving: Any) -> None:
    async with serving() as running:
        delete = running.method(_path("DeleteItems"), pb.DeleteItemsRequest, pb.DeletionReceipt)
        await delete(pb.DeleteItemsRequest(gallery="g", item_ids=["a", "b"]))
        receipt = await delete(
            pb.DeleteItemsRequest(gallery="g", filter=pb.Filter(camera_ids=["1"]), dry_run=True)
        )
        await delete(pb.DeleteItemsRequest(gallery="g"))
    assert running.service.asked == [
        ("g", ["a", "b"], None, False),
        ("g", None, Filter(cameras=("1",)), True),
        ("g", None, None, False),
    ]
    assert (receipt.items, receipt.gallery_version, receipt.dry_run) == (1, 5, True)
    assert (receipt.snapshots, receipt.still_in) == (2, 3)
    assert receipt.at.seconds > 0


async def test_delete_a_gallery(serving: Any) -> None:
    async with serving() as running:
        delete = running.method(_path("DeleteGallery"), pb.DeleteGalleryRequest, pb.DeletionReceipt)
        assert (await delete(pb.DeleteGalleryRequest(name="g"))).vectors == 1
    assert running.service.asked == ["g"]
