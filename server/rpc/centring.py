"""``vireid.v1.CentringService`` on the wire: centrings of galleries.

Knows messages; the work is ``server.recentring``'s.
"""

from collections.abc import AsyncIterator
from typing import Any

from server import recentring
from server.jobs import Job, JobBoard
from server.service import RetrievalService
from vireid.proto import convert, trials
from vireid.proto import retrieval_pb2 as pb
from vireid.types import CentringTrial

Progress = AsyncIterator[pb.CentringProgress]


class CentringServicer:
    """Answers the calls on centrings.

    Args:
        service: holds the galleries.
        board: runs the work.
    """

    def __init__(self, service: RetrievalService, board: JobBoard) -> None:
        self._service = service
        self._board = board

    def CentreGallery(self, request: pb.CentreGalleryRequest, context: Any) -> Progress:
        """Take each modality's own mean off what is searched."""
        started = recentring.start_centring(self._service, self._board, *_choices(request))
        return self._followed(started, context)

    def UncentreGallery(self, request: pb.UncentreGalleryRequest, context: Any) -> Progress:
        """Go back to what was before the last centring."""
        return self._followed(recentring.start_return(self._service, self._board, request.gallery), context)

    def TryCentring(self, request: pb.CentreGalleryRequest, context: Any) -> Progress:
        """Measure what a centring would bring, and change nothing."""
        started = recentring.start_trial(self._service, self._board, *_choices(request))
        return self._followed(started, context)

    async def _followed(self, job: Job, context: Any) -> Progress:
        """Follow a job; a caller who leaves, or whose deadline passes, cancels it."""
        # at any end of the call; nothing happens to a job that has ended
        context.add_done_callback(lambda _: self._board.cancel(job.job_id))
        yield pb.CentringProgress(job_id=job.job_id)
        await self._board.ended(job.job_id)
        if job.state != "succeeded":
            raise job.failure
        if isinstance(job.value, CentringTrial):
            yield pb.CentringProgress(job_id=job.job_id, trial=trials.trial_to(job.value))
        else:
            now = None if job.value is None else convert.centring_to(job.value)
            yield pb.CentringProgress(job_id=job.job_id, centred=pb.CentringProgress.Centred(centring=now))


def _choices(request: pb.CentreGalleryRequest) -> tuple[str, float, bool]:
    strength = request.strength if request.HasField("strength") else 1.0
    return request.gallery, strength, request.half
