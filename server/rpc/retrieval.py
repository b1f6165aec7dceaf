"""``vireid.v1.RetrievalService`` on the wire: embed and search.

Knows messages and the caller's deadline; the behaviour is ``server.service``'s.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import grpc

from server import status
from server.answers import Embedded
from server.rpc import messages
from server.service import RetrievalService
from vireid.errors import ImageError, InvalidRequest, VireidError
from vireid.proto import retrieval_pb2 as pb

MOST_INPUTS = 64
# inputs of one call that wait at the batcher together: enough to fill it, too few to fill its queue
SIDE_BY_SIDE = 8


class RetrievalServicer:
    """Answers ``Embed`` and ``Search``.

    Args:
        service: does the work.
    """

    def __init__(self, service: RetrievalService) -> None:
        self._service = service

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        """Find the items most like the query, within the caller's deadline."""
        asked = messages.search_request_of(request, context.time_remaining())
        return messages.search_response_to(await self._service.search(asked))

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Embed each input; one that cannot be embedded carries its error, in its place."""
        if not 1 <= len(request.inputs) <= MOST_INPUTS:
            raise InvalidRequest(
                f"{len(request.inputs)} inputs in one call; expected 1 to {MOST_INPUTS}", field="inputs"
            )
        began = time.monotonic()
        outcomes = await self._embed_all(request.inputs, context)
        timings = [outcome.timing for outcome in outcomes if isinstance(outcome, Embedded)]
        return pb.EmbedResponse(
            results=[self._result(outcome) for outcome in outcomes],
            timing=messages.timing_to(messages.slowest(timings, time.monotonic() - began)),
        )

    async def _embed_all(self, inputs: Sequence[pb.ImageInput], context: Any) -> list[Embedded | VireidError]:
        if len(inputs) == 1:
            return [await self._embed_one(inputs[0], 0, context)]
        window = asyncio.Semaphore(SIDE_BY_SIDE)

        async def in_turn(position: int) -> Embedded | VireidError:
            async with window:
                return await self._embed_one(inputs[position], position, context)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(in_turn(position)) for position in range(len(inputs))]
        except ExceptionGroup as several:  # a fault that is no input's own ends the whole call
            raise several.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _embed_one(self, source: pb.ImageInput, position: int, context: Any) -> Embedded | VireidError:
        try:
            query = messages.image_query_of(source, f"inputs[{position}]")
            return await self._service.embed(query, timeout_s=context.time_remaining())
        except (ImageError, InvalidRequest) as error:
            return error

    def _result(self, outcome: Embedded | VireidError) -> pb.EmbedResult:
        if isinstance(outcome, Embedded):
            return messages.embed_result_to(outcome, self._service.space_id)
        code = grpc.StatusCode[status.grpc_status(outcome)].value[0]
        return pb.EmbedResult(
            error=pb.ItemError(code=code, reason=outcome.stable_reason, message=outcome.message)
        )
