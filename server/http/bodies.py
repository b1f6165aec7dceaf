"""Request bodies, read with a cap while they arrive: images, JSON documents, archives, forms. Knows no route.

Also notices callers who leave before their answer.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from vireid.errors import (
    BodyTooLarge,
    Cancelled,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidRequest,
    StorageError,
)
from vireid.images.decode import Limits

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_FORM_FILES = 1000
AT_ONCE = 1024 * 1024
SLOWEST_S = 30.0  # between two parts of a body

Document = TypeVar("Document", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spooled:
    """A body that was written to unnamed temporary files.

    Attributes:
        files: name and file; one without a name where the body was no form.
        fingerprint: SHA-256 of names and contents, hex.
    """

    files: Sequence[tuple[str, IO[bytes]]]
    fingerprint: str

    def close(self) -> None:
        """Let the files go."""
        for _, file in self.files:
            file.close()


def media_type(request: Request) -> str:
    """Tell what a body says it is, without parameters, in lower case."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def capped(request: Request, limit: int) -> Request:
    """Return the same request, whose body cannot be read beyond the limit.

    Raises:
        BodyTooLarge: it says itself that it is larger; what says nothing, or lies, is caught while it is read.
        DeadlineExceeded: nothing of it comes for a while: a body that is held open holds what came of it.
        Cancelled: while it is read, the caller leaves.
    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdecimal():
        _check_size(int(claimed), limit)
    size = 0

    async def receive() -> Message:
        nonlocal size
        try:
            async with asyncio.timeout(SLOWEST_S):
                message = await request.receive()
        except TimeoutError:
            raise DeadlineExceeded(
                f"nothing of the body came for {SLOWEST_S:.0f} s; send it again, without a pause",
                reason="BODY_TOO_SLOW",
            ) from None
        if message["type"] == "http.disconnect":
            raise Cancelled("the caller left before the body was whole; nothing was stored")
        size += len(message.get("body", b""))
        _check_size(size, limit)
        return message

    return Request(request.scope, receive)


async def image(request: Request) -> bytes:
    """Read an encoded image, the whole body.

    Raises:
        InvalidRequest: the body is empty.
        ImageTooLarge: it is over the cap of an image.
    """
    limit = Limits().max_bytes
    try:
        data = await capped(request, limit).body()
    except BodyTooLarge as error:  # such a body is nothing but the image: say what the other wire says
        raise ImageTooLarge(
            f"the image has more than {limit:,} bytes; send a crop", metadata=error.metadata
        ) from None
    if not data:
        raise InvalidRequest(
            "the body is empty; send the bytes of a JPEG, PNG or WebP image",
            field="body",
            reason="BODY_EMPTY",
        )
    return data


async def document(request: Request, model: type[Document]) -> Document:
    """Read a JSON document.

    Raises:
        BodyTooLarge: it is over the cap of a document.
        RequestValidationError: it is no JSON, or does not fit the model.
    """
    data = await capped(request, MAX_JSON_BYTES).body()
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # as those of parameters begin with "query" or "path"
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


async def spool(request: Request, limit: int) -> Spooled:
    """Write the body to an unnamed temporary file as it arrives.

    Raises:
        InvalidRequest: it is empty.
        BodyTooLarge: it is over the limit.
        StorageError: there is no room for it.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who gets it
    digest = hashlib.sha256()
    try:
        waiting = bytearray()
        async for part in capped(request, limit).stream():
            waiting += part
            if len(waiting) >= AT_ONCE:  # the disk may make others wait: not on the event loop
                await asyncio.to_thread(_write, file, digest, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(_write, file, digest, bytes(waiting))
    except BaseException:
        file.close()
        raise
    if not file.tell():
        file.close()
        raise InvalidRequest("the body is empty; send an archive", field="body", reason="BODY_EMPTY")
    file.seek(0)
    return Spooled([("", file)], digest.hexdigest())


async def spool_form(request: Request, limit: int) -> Spooled:
    """Read a form's files into temporary files.

    Raises:
        InvalidRequest: a field is no file, or there is none.
        BodyTooLarge: it is over the limit.
    """
    try:
        form = await capped(request, limit).form(max_files=MAX_FORM_FILES)
    except OSError as error:
        raise _no_room(error) from error
    try:
        files = list(_files_of(form))
        return Spooled(files, await asyncio.to_thread(_fingerprint, files))
    except BaseException:
        await form.close()
        raise


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do work for a caller whose body was read; stop it when the caller leaves.

    Raises:
        Cancelled: the caller left.
    """
    task = asyncio.current_task()
    assert task is not None
    has_left = is_over = False

    def stop(watching: "asyncio.Task[None]") -> None:
        nonlocal has_left
        if not is_over and not watching.cancelled():
            has_left = True
            task.cancel()

    watching = asyncio.ensure_future(_left(request))
    watching.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if not has_left or task.uncancel():
            raise  # somebody else stops this task as well
        raise Cancelled("the caller left before the answer was ready") from None
    finally:
        is_over = True
        watching.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _files_of(form: FormData) -> Sequence[tuple[str, IO[bytes]]]:
    files: list[tuple[str, IO[bytes]]] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            raise InvalidRequest(f"the form field {name!r} is no file; expected files", field=name)
        files.append((value.filename or "", value.file))
    if not files:
        raise InvalidRequest("the form holds no files; expected some under 'files'", field="files")
    return files


def _fingerprint(files: Sequence[tuple[str, IO[bytes]]]) -> str:
    whole = hashlib.sha256()
    for name, file in files:
        digest = hashlib.sha256()
        file.seek(0)
        while part := file.read(AT_ONCE):
            digest.update(part)
        file.seek(0)
        whole.update(f"{name}\0{digest.hexdigest()}\0".encode())
    return whole.hexdigest()


def _write(file: IO[bytes], digest: "hashlib._Hash", part: bytes) -> None:
    digest.update(part)
    try:
        file.write(part)
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> StorageError:
    return StorageError(f"the upload cannot be held: {error}; free space, then try again")


def _check_size(found: int, limit: int) -> None:
    if found > limit:
        raise BodyTooLarge(
            f"the body has {found:,} bytes or more; at most {limit:,} are taken",
            metadata={"limit": str(limit), "actual": str(found)},
        )
