"""``vireid.v1.SnapshotService`` on the wire: copies of galleries.

Knows messages; the work is ``server.copies``'s.
"""

from collections.abc import AsyncIterator
from typing import Any

from server import copies
from server.jobs import JobBoard
from server.service import RetrievalService
from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb


class SnapshotServicer:
    """Answers the calls on snapshots.

    Args:
        service: holds the galleries.
        board: runs the copying.
    """

    def __init__(self, service: RetrievalService, board: JobBoard) -> None:
        self._service = service
        self._board = board

    async def CreateSnapshot(
        self, request: pb.CreateSnapshotRequest, context: Any
    ) -> AsyncIterator[pb.SnapshotProgress]:
        """Copy a gallery; a caller who leaves, or whose deadline passes, cancels the job."""
        job = copies.start(self._service, self._board, request.gallery, request.keep_days)
        # at any end of the call; nothing happens to a job that has ended
        context.add_done_callback(lambda _: self._board.cancel(job.job_id))
        yield pb.SnapshotProgress(job_id=job.job_id)
        await self._board.ended(job.job_id)
        if job.state != "succeeded":
            raise job.failure
        yield pb.SnapshotProgress(job_id=job.job_id, snapshot=convert.snapshot_to(job.value))

    async def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, _context: Any
    ) -> pb.ListSnapshotsResponse:
        """Describe a gallery's snapshots, the oldest first."""
        found = await self._service.list_snapshots(request.gallery)
        return pb.ListSnapshotsResponse(snapshots=[convert.snapshot_to(one) for one in found])

    async def DeleteSnapshot(self, request: pb.DeleteSnapshotRequest, _context: Any) -> pb.Snapshot:
        """Remove a snapshot; describe what went."""
        return convert.snapshot_to(await self._service.delete_snapshot(request.gallery, request.name))
