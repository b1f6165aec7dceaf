"""The calls that only HTTP offers, as values: archives, evaluations, copies and centrings of galleries as jobs.

Pure functions, shared by the synchronous and the asynchronous client. Knows no connection.
"""

from pathlib import Path
from urllib.parse import quote

from clients import http_documents as documents
from clients.call import Call, Choices
from clients.http_request import Request, gallery_path, json_request
from clients.replies import Job
from vireid.errors import InvalidRequest

ARCHIVE_TYPES = {
    ".zip": "application/zip",
    ".tar": "application/x-tar",
    ".tgz": "application/gzip",
    ".gz": "application/gzip",
}


def job(job_id: str) -> Call[Job]:
    """Ask how far a job is."""
    request = Request("GET", f"/v1/jobs/{quote(job_id, safe='')}")
    return Call(request, lambda reply: documents.job_of(reply.document))


def upload_archive(gallery: str, archive: Path) -> Call[Job]:
    """Ask for an archive to be unpacked and enrolled.

    Raises:
        InvalidRequest: it is no file, or no archive by its name.
    """
    kind = ARCHIVE_TYPES.get(archive.suffix.lower())
    if kind is None or not archive.is_file():
        raise InvalidRequest(
            f"{archive} is no archive file; expected {', '.join(ARCHIVE_TYPES)}", field="archive"
        )
    request = Request("POST", f"{gallery_path(gallery)}/items:upload", (), archive, kind)
    return Call(request, lambda reply: documents.job_of(reply.document))


def cancel(job_id: str) -> Call[Job]:
    """Ask for a job to be stopped."""
    request = Request("POST", f"/v1/jobs/{quote(job_id, safe='')}:cancel")
    return Call(request, lambda reply: documents.job_of(reply.document))


def start_evaluation(gallery: str, choices: Choices) -> Call[Job]:
    """Ask for a labelled gallery to be measured; made twice, there would be two jobs."""
    request = json_request("POST", "/v1/evaluations", documents.choices_to(gallery, choices))
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def report(job_id: str, kind: str) -> Call[str]:
    """Ask for the report of an evaluation that has succeeded; ``json``, ``csv`` or ``html``."""
    request = Request("GET", f"/v1/evaluations/{quote(job_id, safe='')}/report.{kind}")
    return Call(request, lambda reply: reply.body.decode())


def start_snapshot(gallery: str, keep_days: int) -> Call[Job]:
    """Ask for a gallery to be copied; made twice, there would be two."""
    request = json_request("POST", f"{gallery_path(gallery)}/snapshots", {"keep_days": keep_days})
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def start_centring(gallery: str, strength: float, half: bool) -> Call[Job]:
    """Ask for a gallery to be centred; made twice, it would be centred twice."""
    request = json_request("POST", f"{gallery_path(gallery)}/centring", {"strength": strength, "half": half})
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def start_return(gallery: str) -> Call[Job]:
    """Ask for a gallery to be as it was before its last centring; made twice, it would go back further."""
    request = Request("DELETE", f"{gallery_path(gallery)}/centring")
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)


def start_trial(gallery: str, strength: float, half: bool) -> Call[Job]:
    """Ask what a centring would bring; made twice, there would be two jobs."""
    path = f"{gallery_path(gallery)}/centring:evaluate"
    request = json_request("POST", path, {"strength": strength, "half": half})
    return Call(request, lambda reply: documents.job_of(reply.document), repeatable=False)
