"""``vireid.v1.GalleryService`` on the wire: galleries and their items.

Knows messages and the caller's deadline; the behaviour is ``server.service``'s.
"""

from datetime import UTC, datetime
from typing import Any

from index.gallery import Receipt
from server.rpc import messages
from server.service import RetrievalService
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb

DEFAULT_PAGE = 100


class GalleryServicer:
    """Answers the calls on galleries and items.

    Args:
        service: does the work.
    """

    def __init__(self, service: RetrievalService) -> None:
        self._service = service

    async def CreateGallery(self, request: pb.CreateGalleryRequest, _context: Any) -> pb.Gallery:
        """Make an empty gallery."""
        keep = request.store_images if request.HasField("store_images") else True
        made = await self._service.create_gallery(request.name, keep, request.retention_s)
        return convert.gallery_to(made)

    async def GetGallery(self, request: pb.GetGalleryRequest, _context: Any) -> pb.Gallery:
        """Describe a gallery."""
        return convert.gallery_to(await self._service.get_gallery(request.name))

    async def ListGalleries(
        self, _request: pb.ListGalleriesRequest, _context: Any
    ) -> pb.ListGalleriesResponse:
        """Describe every gallery, those that failed to open too."""
        found = await self._service.list_galleries()
        return pb.ListGalleriesResponse(galleries=[convert.gallery_to(info) for info in found])

    async def UpdateGallery(self, request: pb.UpdateGalleryRequest, _context: Any) -> pb.Gallery:
        """Set how long a gallery keeps its items; what is not said stays."""
        if not request.HasField("retention_s"):
            return convert.gallery_to(await self._service.get_gallery(request.name))
        return convert.gallery_to(await self._service.retain(request.name, request.retention_s))

    async def DeleteGallery(self, request: pb.DeleteGalleryRequest, _context: Any) -> pb.DeletionReceipt:
        """Remove a gallery and all it holds."""
        return _receipt_to(await self._service.delete_gallery(request.name), dry_run=False)

    async def PutItem(self, request: pb.PutItemRequest, context: Any) -> pb.PutItemResponse:
        """Enrol or replace one item; durable when answered."""
        # the image says what it was taken with; the item may say it instead
        source = request.image
        if source.modality == pb.MODALITY_UNSPECIFIED:
            source.modality = request.item.modality
        answer = await self._service.put_item(
            request.gallery,
            request.item.item_id,
            messages.image_query_of(source, "image"),
            convert.meta_of(request.item),
            timeout_s=context.time_remaining(),
            expires_at=convert.expiry_of(request.item),
        )
        return messages.put_response_to(answer)

    async def GetItem(self, request: pb.GetItemRequest, _context: Any) -> pb.Item:
        """Describe one item."""
        return convert.item_to(await self._service.get_item(request.gallery, request.item_id))

    async def ListItems(self, request: pb.ListItemsRequest, _context: Any) -> pb.ListItemsResponse:
        """List a page of items."""
        items, cursor = await self._service.list_items(
            request.gallery,
            messages.filter_of(request.filter),
            request.page_size or DEFAULT_PAGE,
            request.page_token,
        )
        return pb.ListItemsResponse(items=[convert.item_to(item) for item in items], next_page_token=cursor)

    async def DeleteItems(self, request: pb.DeleteItemsRequest, _context: Any) -> pb.DeletionReceipt:
        """Remove the items named, or those a filter matches."""
        chosen = messages.filter_of(request.filter)
        receipt = await self._service.delete_items(
            request.gallery,
            list(request.item_ids) or None,
            None if chosen.is_empty else chosen,
            request.dry_run,
        )
        return _receipt_to(receipt, dry_run=request.dry_run)

    async def GetFacets(self, request: pb.GetFacetsRequest, _context: Any) -> pb.Facets:
        """Count the items that pass a filter by camera, modality and hour of the day."""
        found = await self._service.facets(request.gallery, messages.filter_of(request.filter))
        return pb.Facets(**found)


def _receipt_to(receipt: Receipt, *, dry_run: bool) -> pb.DeletionReceipt:
    return pb.DeletionReceipt(
        items=receipt.items,
        images=receipt.images,
        vectors=receipt.vectors,
        gallery_version=receipt.version,
        at=convert.time_to(datetime.now(UTC)),
        dry_run=dry_run,
        snapshots=receipt.snapshots,
        still_in=receipt.still_in,
    )
