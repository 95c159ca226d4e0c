"""Everything that can be answered other than 200, as one tree.

Each class knows its HTTP status, the code that stands in the answer, the outcome under which the call is put on record, and
whether the sender helps itself by repeating the call.
"""

import traceback
from collections.abc import Sequence
from typing import ClassVar


class ReceiverError(Exception):
    """The root: carries a message that names what was expected."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    outcome: ClassVar[str] = "failed"
    retry_after_seconds: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(ReceiverError):
    """A setting is missing, unknown or contradicts another; the message names it. Exit code 2."""


class Refused(ReceiverError):
    """The door does not let this call in. Nothing of its body is kept."""

    outcome = "refused"


class Unauthorized(Refused):
    """No token, or none that we know (RFC 6750, section 3: the challenge header is part of the answer)."""

    status = 401
    code = "unauthorized"
    headers = ((b"www-authenticate", b"Bearer"),)


class TooManyAttempts(Refused):
    """Another wrong ops token, after too many from the same address; the right one is never refused for that."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"Too many wrong tokens came from this address. Try again in {retry_after_seconds} seconds.")
        self.retry_after_seconds = retry_after_seconds


class AddressNotAllowed(Refused):
    """The token is right, the address is not on the list."""

    status = 403
    code = "address_not_allowed"


class NotFound(Refused):
    """No such path, or the source behind it has no token and is off."""

    status = 404
    code = "not_found"


class MethodNotAllowed(Refused):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str] = ("POST", "HEAD")) -> None:
        super().__init__(message)
        self.headers = ((b"allow", ", ".join(allowed).encode()),)


class FormRefused(Refused):
    """A form of the console that was not made for this session, or was sent from elsewhere."""

    status = 403
    code = "form_refused"


class BadRequest(Refused):
    """What arrived is not a request of HTTP/1.1; the connection is closed, since nobody can tell where the next one begins."""

    status = 400
    code = "bad_request"
    headers = ((b"connection", b"close"),)


class HeadersTooLarge(Refused):
    """The request line and the header lines, or the trailers, are over the limit in all; no more of them is read."""

    status = 431
    code = "headers_too_large"
    headers = ((b"connection", b"close"),)


class BodyIncomplete(Refused):
    """The connection ended, or was ended by us, before the body was complete; there is nobody to answer."""

    status = 400
    code = "body_incomplete"
    headers = ((b"connection", b"close"),)


class BodyTooLarge(Refused):
    """The body is over the limit, declared or counted; no more of it is read and the connection is closed."""

    status = 413
    code = "body_too_large"
    headers = ((b"connection", b"close"),)


class Unreadable(ReceiverError):
    """Authenticated, but not understood. Every byte is kept."""

    outcome = "unreadable"


class InvalidJson(Unreadable):
    """The body is not JSON."""

    status = 400
    code = "invalid_json"


class UnsupportedEncoding(Unreadable):
    """The body has a content coding that is not read here; the answer says which ones are (RFC 9110, 15.5.16)."""

    status = 415
    code = "unsupported_encoding"
    headers = ((b"accept-encoding", b"gzip, deflate"),)


class UnexpectedShape(Unreadable):
    """The body is JSON, but not of the shape that this path takes."""

    status = 422
    code = "unexpected_shape"


class ReadingFailed(ReceiverError):
    """Our own code failed on an authenticated body. Every byte is kept, and can be replayed after a fix.

    `cause` is for the log: the kind of the error and its place.
    """

    def __init__(self, cause: str = "") -> None:
        super().__init__("This service failed to read the body. The body is stored and can be replayed after a fix.")
        self.cause = cause


class AlreadyRunning(ReceiverError):
    """Somebody else is doing this just now."""

    status = 409
    code = "underway"


class TargetInUse(ReceiverError):
    """The settings name this target; what waits for it is not to be dropped."""

    status = 409
    code = "target_in_use"


class ClientGone(ReceiverError):
    """The caller hung up before it had our whole answer; the status is only for the record."""

    status = 499
    code = "caller_gone"


class Unavailable(ReceiverError):
    """Not now: the sender repeats the call and loses nothing."""

    status = 503
    retry_after_seconds = 30


class NoCustomerList(Unavailable):
    """No customer list was ever imported; an empty one would be a lie."""

    code = "no_customer_list"


class Busy(Unavailable):
    """The queue before the database is full."""

    code = "busy"
    retry_after_seconds = 5


class StorageUnavailable(Unavailable):
    """The database is away, full, or did not commit in time."""

    code = "storage_unavailable"


class WriterTaken(ReceiverError):
    """Another process writes to this SQLite file; there may be only one."""


class SchemaOutdated(StorageUnavailable):
    """This program does not work on the tables: there are none, or they are of another version; the message says what to do."""


class NoDatabase(SchemaOutdated):
    """There is no database, and nothing here shows that there was one: no file, or no tables in it."""


class DatabaseLost(StorageUnavailable):
    """There is no database although one belongs here. Only its copy brings it back, not `receiver migrate`."""


def name_error(error: BaseException) -> str:
    """Name an error and its place, without the content: the messages of drivers and parsers quote it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rpartition("/")[2]
    return f"{type(getattr(error, 'orig', None) or error).__name__} at {file}:{frame.lineno}"
