"""One table each from the errors to HTTP and to gRPC statuses. A test demands that both are complete.

An error's own class decides, else its nearest ancestor in the table.
"""

from vireid import errors

HTTP: dict[type[errors.VireidError], int] = {
    errors.VireidError: 500,
    errors.InvalidRequest: 422,
    errors.ImageError: 400,
    errors.NotAnImage: 415,
    errors.FormatNotAllowed: 415,
    errors.ImageTruncated: 400,
    errors.ImageTooLarge: 413,
    errors.TooManyPixels: 413,
    errors.ArchiveError: 422,
    errors.BodyTooLarge: 413,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.FailedPrecondition: 409,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.Overloaded: 429,
    errors.DeadlineExceeded: 504,
    errors.Cancelled: 499,
    errors.Unavailable: 503,
    errors.StorageError: 507,
    errors.DataLoss: 500,
    errors.EngineError: 500,
    errors.BundleError: 500,
    errors.DatasetError: 422,
    errors.EvaluationError: 422,
    errors.TrainingError: 500,
    errors.ExportError: 500,
    errors.SettingsError: 500,
    errors.MissingExtra: 500,
    errors.ServerUnreachable: 503,
}

GRPC: dict[type[errors.VireidError], str] = {
    errors.VireidError: "INTERNAL",
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.ImageError: "INVALID_ARGUMENT",
    errors.ArchiveError: "INVALID_ARGUMENT",
    errors.BodyTooLarge: "RESOURCE_EXHAUSTED",
    errors.NotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.FailedPrecondition: "FAILED_PRECONDITION",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.PermissionDenied: "PERMISSION_DENIED",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
    errors.Unavailable: "UNAVAILABLE",
    errors.StorageError: "RESOURCE_EXHAUSTED",
    errors.DataLoss: "DATA_LOSS",
    errors.EngineError: "INTERNAL",
    errors.BundleError: "INTERNAL",
    errors.DatasetError: "INVALID_ARGUMENT",
    errors.EvaluationError: "INVALID_ARGUMENT",
    errors.TrainingError: "INTERNAL",
    errors.ExportError: "INTERNAL",
    errors.SettingsError: "INTERNAL",
    errors.MissingExtra: "INTERNAL",
    errors.ServerUnreachable: "UNAVAILABLE",
}


def http_status(error: errors.VireidError) -> int:
    """Return the HTTP status of an error."""
    return next(HTTP[kind] for kind in type(error).__mro__ if kind in HTTP)


def grpc_status(error: errors.VireidError) -> str:
    """Return the name of the gRPC status of an error."""
    return next(GRPC[kind] for kind in type(error).__mro__ if kind in GRPC)
