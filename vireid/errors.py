"""Every error vireid raises, as one tree.

Each class carries a stable ``reason`` (upper snake case) that reaches HTTP (RFC 9457 ``reason``) and gRPC
(``google.rpc.ErrorInfo.reason``) unchanged. A message says what was found, what was expected and what to do.
The transports hold one table each from these classes to status codes; nothing here knows a transport.

    VireidError
    ├── InvalidRequest              a field is out of range or malformed
    │   ├── EmbeddingNotFinite      NaN or infinity in an embedding
    │   └── IdempotencyConflict     same key, other content
    ├── ImageError
    │   ├── NotAnImage              bytes that are no image
    │   ├── FormatNotAllowed        an image, but not JPEG, PNG or WebP
    │   ├── ImageTruncated          the data ends early or is damaged
    │   ├── ImageTooLarge           too many bytes
    │   └── TooManyPixels           too many pixels once decoded
    ├── ArchiveError                an upload archive that is unsafe or unreadable
    ├── BodyTooLarge                a request body over its limit
    ├── NotFound
    │   ├── GalleryNotFound
    │   ├── ItemNotFound
    │   ├── ImageNotStored          the item is known, its image was not kept
    │   ├── SnapshotNotFound
    │   └── JobNotFound
    ├── AlreadyExists
    │   └── GalleryExists
    ├── FailedPrecondition
    │   └── GalleryMismatch         embeddings of another bundle
    ├── Unauthenticated
    ├── PermissionDenied
    ├── Overloaded                  a queue is full; carries retry_after_s
    ├── DeadlineExceeded
    ├── Cancelled                   the caller left
    ├── Unavailable                 starting or draining; carries retry_after_s
    ├── StorageError                the disk is full or refuses
    ├── DataLoss                    a stored file no longer matches its checksum
    ├── EngineError                 the model could not be run
    │   └── ProviderUnavailable     the asked-for device is not there
    ├── BundleError
    │   ├── BundleMissing
    │   ├── BundleCorrupt
    │   └── BundleUnsupported       a format version or feature we do not know
    ├── DatasetError                a dataset folder that is incomplete or wrong
    ├── EvaluationError             nothing to evaluate, or values that cannot be
    ├── TrainingError               a run that cannot start or go on
    ├── ExportError                 a model that cannot be exported or fails parity
    ├── SettingsError               unknown key, bad value
    ├── MissingExtra                an optional dependency is not installed
    └── ServerUnreachable           a client found no server, or lost it
"""

from collections.abc import Mapping
from typing import ClassVar


class VireidError(Exception):
    """Base of all vireid errors.

    Args:
        message: what was found, what was expected, what to do.
        reason: a more specific stable reason than the class's own.
        metadata: short machine-readable facts, for example ``{"limit": "1000"}``.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stable_reason = reason or self.reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidRequest(VireidError):
    """A field is out of range or malformed.

    Args:
        message: what was found, what was expected, what to do.
        field: the offending field, in the words of the request.
        reason: a more specific stable reason.
        metadata: short machine-readable facts.
    """

    reason = "INVALID_REQUEST"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.field = field


class EmbeddingNotFinite(InvalidRequest):
    """An embedding holds NaN or infinity."""

    reason = "EMBEDDING_NOT_FINITE"


class IdempotencyConflict(InvalidRequest):
    """The same idempotency key came with other content."""

    reason = "IDEMPOTENCY_CONFLICT"


class ImageError(VireidError):
    """An image that cannot be used."""

    reason = "IMAGE_INVALID"


class NotAnImage(ImageError):
    """Bytes that are no image."""

    reason = "NOT_AN_IMAGE"


class FormatNotAllowed(ImageError):
    """An image, but not JPEG, PNG or WebP, or a flavour of them we refuse."""

    reason = "FORMAT_NOT_ALLOWED"


class ImageTruncated(ImageError):
    """Image data that ends early or is damaged."""

    reason = "IMAGE_TRUNCATED"


class ImageTooLarge(ImageError):
    """Too many encoded bytes."""

    reason = "IMAGE_TOO_LARGE"


class TooManyPixels(ImageError):
    """Too many pixels once decoded; read from the header, never decoded."""

    reason = "TOO_MANY_PIXELS"


class ArchiveError(VireidError):
    """An upload archive that is unsafe or unreadable."""

    reason = "ARCHIVE_INVALID"


class BodyTooLarge(VireidError):
    """A request body over its limit."""

    reason = "BODY_TOO_LARGE"


class NotFound(VireidError):
    """Something named does not exist."""

    reason = "NOT_FOUND"


class GalleryNotFound(NotFound):
    """No gallery of that name."""

    reason = "GALLERY_NOT_FOUND"


class ItemNotFound(NotFound):
    """No item of that id in the gallery."""

    reason = "ITEM_NOT_FOUND"


class ImageNotStored(NotFound):
    """The item is known, its image was not kept."""

    reason = "IMAGE_NOT_STORED"


class SnapshotNotFound(NotFound):
    """The gallery has no snapshot of that name."""

    reason = "SNAPSHOT_NOT_FOUND"


class JobNotFound(NotFound):
    """No job of that id."""

    reason = "JOB_NOT_FOUND"


class AlreadyExists(VireidError):
    """Something of that name is there already."""

    reason = "ALREADY_EXISTS"


class GalleryExists(AlreadyExists):
    """A gallery of that name is there already."""

    reason = "GALLERY_EXISTS"


class FailedPrecondition(VireidError):
    """The system is not in a state that allows the call."""

    reason = "FAILED_PRECONDITION"


class GalleryMismatch(FailedPrecondition):
    """Embeddings of another bundle than the gallery's."""

    reason = "SPACE_MISMATCH"


class Unauthenticated(VireidError):
    """No API key, or a wrong one."""

    reason = "NO_CREDENTIALS"


class PermissionDenied(VireidError):
    """What stands before a server does not let the caller through; our server itself knows no scopes."""

    reason = "PERMISSION_DENIED"


class _Retryable(VireidError):
    """An error that passes; says when to try again."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class Overloaded(_Retryable):
    """A queue is full; nothing was started."""

    reason = "QUEUE_FULL"


class DeadlineExceeded(VireidError):
    """The caller's deadline passed before the answer was ready."""

    reason = "DEADLINE_IN_QUEUE"


class Cancelled(VireidError):
    """The caller left before the answer was ready."""

    reason = "CANCELLED"


class Unavailable(_Retryable):
    """The server is starting or draining."""

    reason = "DRAINING"


class StorageError(VireidError):
    """The disk is full or refuses a write."""

    reason = "DISK_FULL"


class DataLoss(VireidError):
    """A stored file no longer matches its checksum."""

    reason = "CHECKSUM_MISMATCH"


class EngineError(VireidError):
    """The model could not be run."""

    reason = "ENGINE_FAILED"


class ProviderUnavailable(EngineError):
    """The asked-for device or runtime is not there."""

    reason = "PROVIDER_UNAVAILABLE"


class BundleError(VireidError):
    """A bundle that cannot be used."""

    reason = "BUNDLE_INVALID"


class BundleMissing(BundleError):
    """No bundle at that place."""

    reason = "BUNDLE_MISSING"


class BundleCorrupt(BundleError):
    """A bundle whose files do not match their checksums or cannot be read."""

    reason = "BUNDLE_CORRUPT"


class BundleUnsupported(BundleError):
    """A bundle of a format version or with a feature we do not know."""

    reason = "BUNDLE_UNSUPPORTED"


class DatasetError(VireidError):
    """A dataset folder that is incomplete or wrong."""

    reason = "DATASET_INVALID"


class EvaluationError(VireidError):
    """Nothing to evaluate, or values that cannot be evaluated."""

    reason = "EVALUATION_IMPOSSIBLE"


class TrainingError(VireidError):
    """A training run that cannot start or go on."""

    reason = "TRAINING_FAILED"


class ExportError(VireidError):
    """A model that cannot be exported or fails parity."""

    reason = "EXPORT_FAILED"


class SettingsError(VireidError):
    """An unknown setting or a bad value."""

    reason = "SETTINGS_INVALID"


class MissingExtra(VireidError):
    """An optional dependency is not installed."""

    reason = "MISSING_EXTRA"


class ServerUnreachable(VireidError):
    """A client found no server at the address, or lost it."""

    reason = "SERVER_UNREACHABLE"
