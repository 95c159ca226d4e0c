"""All errors of this service, as one tree.

Each class has its HTTP status, the code in the answer, the outcome that is recorded for the delivery, and
`retry_after_seconds` if the sender should repeat the request.
"""

import traceback
from collections.abc import Sequence
from typing import ClassVar

_SHOWN = 5  # names of what a text matches


class ReceiverError(Exception):
    """The base of all errors. The message says what was expected."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    outcome: ClassVar[str] = "failed"
    retry_after_seconds: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(ReceiverError):
    """A setting is missing, unknown, or contradicts another one. The message names it. Exit code 2."""


class Refused(ReceiverError):
    """The request is rejected. Its body is not stored."""

    outcome = "refused"


class Unauthorized(Refused):
    """No token, or an unknown one. The answer has the challenge header of RFC 6750, section 3.

    `cause` and `detail` say why (`access.refusal_causes.Cause`). They are recorded, and the sender does not get them.
    """

    status = 401
    code = "unauthorized"
    headers = ((b"www-authenticate", b"Bearer"),)
    cause: str | None = None
    detail: str | None = None


class TooManyAttempts(Refused):
    """Another wrong ops token after too many from the same address. A valid token is still accepted."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Too many wrong tokens from this address. Try again in {retry_after_seconds} seconds.")
        self.retry_after_seconds = retry_after_seconds


class AddressNotAllowed(Refused):
    """The token is valid, but the address is not on the allow list."""

    status = 403
    code = "address_not_allowed"


class NotFound(Refused):
    """Unknown path or id, or a source that is disabled because it has no token."""

    status = 404
    code = "not_found"


class Ambiguous(NotFound):
    """A text that several ids, numbers or references match. The message names the first few of them."""

    @classmethod
    def among(cls, text: str, rows_name: str, names: Sequence[str]) -> "Ambiguous":
        """Return the error for a text that matches rows with these names. `rows_name` is a plural."""
        is_cut = len(names) > _SHOWN
        number, rest = (f"more than {_SHOWN}", ", …") if is_cut else (str(len(names)), "")
        return cls(f"{text} matches {number} {rows_name}; use one of {', '.join(names[:_SHOWN])}{rest}.")


class MethodNotAllowed(Refused):
    """The path does not support this method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str] = ("POST", "HEAD")) -> None:
        super().__init__(message)
        self.headers = ((b"allow", ", ".join(allowed).encode()),)


class ReadOnlyToken(Refused):
    """A change, with a token that may only look."""

    status = 403
    code = "read_only"


class FormRefused(Refused):
    """A form of the console that belongs to another session, or was sent from another site."""

    status = 403
    code = "form_refused"


class BadRequest(Refused):
    """Not a valid HTTP/1.1 request. The connection is closed, because the start of the next request is unknown."""

    status = 400
    code = "bad_request"
    headers = ((b"connection", b"close"),)


class HeadersTooLarge(Refused):
    """The request line and headers, or the trailers, are over the limit. No more of them is read."""

    status = 431
    code = "headers_too_large"
    headers = ((b"connection", b"close"),)


class BodyIncomplete(Refused):
    """The connection was closed, by the client or by us, before the body was complete. Nobody gets the answer."""

    status = 400
    code = "body_incomplete"
    headers = ((b"connection", b"close"),)


class BodyTooLarge(Refused):
    """The declared or received body is over the limit. No more of it is read, and the connection is closed."""

    status = 413
    code = "body_too_large"
    headers = ((b"connection", b"close"),)


class Unreadable(ReceiverError):
    """The request is authenticated, but its body is not understood. The body is stored."""

    outcome = "unreadable"


class InvalidJson(Unreadable):
    """The body is not JSON."""

    status = 400
    code = "invalid_json"


class UnsupportedEncoding(Unreadable):
    """The content coding of the body is not supported. The answer names the supported ones (RFC 9110, 15.5.16)."""

    status = 415
    code = "unsupported_encoding"
    headers = ((b"accept-encoding", b"gzip, deflate"),)


class UnexpectedShape(Unreadable):
    """The body is JSON, but does not have the shape that this path expects."""

    status = 422
    code = "unexpected_shape"


class ReadingFailed(ReceiverError):
    """Our own code failed on an authenticated body. The body is stored and can be replayed after a fix.

    `cause` is for the log: the type of the error and its file and line.
    """

    def __init__(self, cause: str = "") -> None:
        super().__init__("This service failed to read the body. The body is stored and can be replayed after a fix.")
        self.cause = cause


class BodyDamaged(ReceiverError):
    """The stored bytes of a body are not those that were written, or this program does not know how they were packed."""

    code = "body_damaged"


class AlreadyRunning(ReceiverError):
    """The same operation is already running elsewhere."""

    status = 409
    code = "underway"


class TargetInUse(ReceiverError):
    """The settings name this target, so its waiting changes cannot be dropped."""

    status = 409
    code = "target_in_use"


class ClientGone(ReceiverError):
    """The client disconnected before it had the whole answer. The status is only recorded."""

    status = 499
    code = "caller_gone"


class Unavailable(ReceiverError):
    """Temporarily unavailable. The sender repeats the request and loses nothing."""

    status = 503
    retry_after_seconds = 30


class NoCustomerList(Unavailable):
    """No customer list was imported yet. An empty list would be wrong."""

    code = "no_customer_list"


class Busy(Unavailable):
    """The queue in front of the database is full."""

    code = "busy"
    retry_after_seconds = 5


class StorageUnavailable(Unavailable):
    """The database is unreachable or full, or did not commit in time."""

    code = "storage_unavailable"


class RowsRefused(StorageUnavailable):
    """The database refused some of the rows because of what somebody added to our tables. It may take other rows."""


class VendorRefused(ReceiverError):
    """The vendor's API does not accept our key. To repeat the request would be useless."""

    status = 502
    code = "vendor_refused"


class VendorUnavailable(ReceiverError):
    """The vendor's API does not answer properly."""

    status = 502
    code = "vendor_unavailable"


class WriterTaken(ReceiverError):
    """Another process writes to this SQLite file. Only one may."""


class SchemaOutdated(StorageUnavailable):
    """This program does not support the tables of the database: none, or another version. The message says what to do."""


class NoDatabase(SchemaOutdated):
    """There is no database (no file, or no tables in it), and no sign that there ever was one."""


class DatabaseLost(StorageUnavailable):
    """The database was lost. Restore it from a backup; `receiver migrate` would only make an empty one."""


def name_error(error: BaseException) -> str:
    """Return the type, file and line of an error, without its message, in which drivers and parsers quote content."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rpartition("/")[2]
    return f"{type(getattr(error, 'orig', None) or error).__name__} at {file}:{frame.lineno}"
